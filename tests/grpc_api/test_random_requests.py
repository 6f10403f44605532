"""Whatever a client sends, it gets an answer or a refusal that says why: never a bug of ours."""

from __future__ import annotations

import random
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from control_plane.grpc_api.generated import (
    cell_service_pb2,
    claim_service_pb2,
    classify_service_pb2,
)
from control_plane.grpc_api.generated.claims.v1 import service_pb2
from tests.grpc_api.wire_client import Wire

TEXTS = ("", "a", "gitlab-org", "ann", "cell-1", "3", "-1", "a/b", "ü", "e\u0301", "\x00", "x" * 1100, "a@b", "@", "xn--", "\ud7ff", "a..b.", "99999999999999999999")  # fmt: skip
NUMBERS = (0, 1, 2, 3, 19, 2**31 - 1, 2**31, 2**63 - 1, -1, -(2**63))
KEYS = (b"", b"\x00" * 8, b"\x00" * 7 + b"\x05", b"\xff" * 300)
SERVICES = [
    cell_service_pb2.DESCRIPTOR.services_by_name["CellService"],
    claim_service_pb2.DESCRIPTOR.services_by_name["ClaimService"],
    classify_service_pb2.DESCRIPTOR.services_by_name["ClassifyService"],
    service_pb2.DESCRIPTOR.services_by_name["ClaimService"],
]
BUGS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}


def some(field: FieldDescriptor, choose: random.Random, depth: int) -> Any:
    if field.message_type is not None:
        return filled(field.message_type, choose, depth + 1)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return choose.choice(KEYS if field.type == FieldDescriptor.TYPE_BYTES else TEXTS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return choose.random() < 0.5
    narrow = field.cpp_type in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_ENUM}
    return choose.choice([n for n in NUMBERS if not narrow or -(2**31) <= n < 2**31])


def filled(descriptor: Descriptor, choose: random.Random, depth: int = 0) -> Message:
    """A message of which each field is set or not, to something likely to hurt."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if depth > 4 or choose.random() < 0.25:
            continue
        if field.is_repeated:
            values = [some(field, choose, depth) for _ in range(choose.randrange(4))]
            getattr(message, field.name).extend(values)
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(some(field, choose, depth))
        else:
            setattr(message, field.name, some(field, choose, depth))
    return message


@pytest.mark.parametrize("wire", ["sqlite", "postgresql"], indirect=True)
async def test_random_requests_meet_no_bug(wire: Wire) -> None:
    choose = random.Random(20261124)
    codes = set()
    for service in SERVICES:
        for method in service.methods:
            call = wire.channel.unary_unary(f"/{service.full_name}/{method.name}")
            for _ in range(60):
                request = filled(method.input_type, choose)
                data = bytearray(request.SerializeToString())
                if data and choose.random() < 0.2:
                    data[choose.randrange(len(data))] = choose.randrange(256)
                metadata = (("x-cellway-cell-id", choose.choice(("1", "2", "99", "x"))),)
                try:
                    await call(bytes(data), timeout=20, metadata=metadata)
                except grpc.aio.AioRpcError as error:
                    codes.add(error.code())
                    shown = (method.name, bytes(data), request, error.details())
                    assert error.code() not in BUGS, shown
    assert {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND} <= codes
