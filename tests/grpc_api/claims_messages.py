"""Messages of claims.v1.ClaimService, made and read by their field numbers alone."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import grpc
import pytest

from tests.grpc_api.wire_client import Wire, fields, num, sub

both = pytest.mark.parametrize("wire", ["sqlite", "postgresql"], indirect=True)
BEGIN, COMMIT, ROLLBACK, LEASES, RECORDS, RECORD = (
    f"claims.v1.ClaimService/{name}"
    for name in (
        "BeginUpdate",
        "CommitUpdate",
        "RollbackUpdate",
        "ListLeases",
        "ListRecords",
        "GetRecord",
    )
)


def key_id(number: int) -> bytes:
    """An integer primary key: 8 bytes, big-endian."""
    return struct.pack(">Q", number)


def metadata(
    bucket: int, value: str, *, source: tuple[int, bytes] = (3, b""), extra: bytes = b""
) -> bytes:
    """Metadata: bucket=1 {type=1, value=2}, subject=2 {type=1, id=2}, source=3 {type=1, id=2}."""
    subject = num(1, 1) + num(2, 7)
    table = num(1, source[0]) + (sub(2, source[1]) if source[1] else b"")
    return sub(1, num(1, bucket) + sub(2, value)) + sub(2, subject) + sub(3, table) + extra


def begin(creates: Sequence[bytes] = (), destroys: Sequence[bytes] = (), cell: int = 1) -> bytes:
    """BeginUpdateRequest: create_records=1, destroy_records=2, cell_id=3."""
    return (
        b"".join(sub(1, one) for one in creates)
        + b"".join(sub(2, one) for one in destroys)
        + num(3, cell)
    )


def settle(lease: str, cell: int = 1) -> bytes:
    """Commit- and RollbackUpdateRequest: cell_id=1, lease_uuid=2 {value=1}."""
    return num(1, cell) + sub(2, sub(1, lease))


async def begun(wire: Wire, request: bytes, **options: object) -> str:
    """The lease's UUID, from BeginUpdateResponse: cell_id=1, lease_uuid=2."""
    answer = fields(await wire.raw(BEGIN, request, **options))
    assert [number for number, _ in answer] == [1, 2]
    ((number, uuid),) = fields(answer[1][1])
    assert number == 1
    return str(uuid, "ascii")


async def owner(wire: Wire, claim: bytes) -> bytes | None:
    try:
        answer = fields(await wire.raw("ClassifyService/Classify", sub(5, claim)))
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.NOT_FOUND
        return None
    return bytes(dict(fields(dict(answer)[2]))[1])
