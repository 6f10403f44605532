"""Claims on the wire (types.v1.Claim, claims.v1.Bucket) and our keys (bucket, value)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.unknown_fields import UnknownFieldSet

from control_plane.grpc_api.generated.claims.v1.messages_pb2 import Bucket
from control_plane.grpc_api.generated.types.v1.claim_pb2 import Claim
from control_plane.topology.values.claim_key import ClaimKey
from control_plane.topology.values.errors import Invalid, Problem

BUCKETS: Mapping[int, str] = MappingProxyType(
    {field.number: field.name for field in Claim.DESCRIPTOR.fields}
)
"""Our word for each number of ClaimType and Bucket.Type."""
NUMBERS: Mapping[str, int] = MappingProxyType({word: number for number, word in BUCKETS.items()})
IDS = frozenset(
    field.name
    for field in Claim.DESCRIPTOR.fields
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT64
)
"""Buckets whose value is a number in a Claim."""
_MEND = "use a claim type of this server's proto/types/v1/claim.proto"


def claim_key(claim: Claim, where: str) -> ClaimKey:
    """The bucket and value that a claim names.

    Raises:
        Invalid: it is empty, or of a type that only newer clients know; ``where`` is named.
    """
    word = claim.WhichOneof("claim")
    if word is None:
        unknown = UnknownFieldSet(claim)
        if len(unknown):
            number = unknown[0].field_number
            raise Invalid(Problem(where, f"claim type {number} is not known here", _MEND))
        raise Invalid(Problem(where, "no claim is set", "set exactly one of its fields"))
    return ClaimKey(word, str(getattr(claim, word)))


def bucket_key(bucket: Bucket, where: str) -> ClaimKey:
    """The bucket and value that a claims.v1.Bucket names; raises `Invalid`."""
    return ClaimKey(bucket_word(bucket.type, f"{where}.type"), bucket.value)


def bucket_word(number: int, where: str) -> str:
    """Our word for a number of Bucket.Type or ClaimType; raises `Invalid` for others."""
    word = BUCKETS.get(number)
    if word is None:
        raise Invalid(Problem(where, f"bucket type {number} is not known here", _MEND))
    return word


def claim_of(bucket: str, value: str) -> Claim:
    """The claim that names a stored key of a bucket that the protocol knows."""
    claim = Claim()
    setattr(claim, bucket, int(value) if bucket in IDS else value)
    return claim
