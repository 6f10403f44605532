"""Translates claims on the wire (types.v1.Claim, claims.v1.Bucket) into claim keys and back.

For example ``Claim(project_id=42)`` and ``Bucket(type=PROJECT_ID, value="42")`` both are
``ClaimKey("project_id", "42")``. The bucket's name is the name of the claim's field.
"""

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
"""The bucket of each number of ClaimType and Bucket.Type."""
NUMBERS: Mapping[str, int] = MappingProxyType({name: number for number, name in BUCKETS.items()})
IDS = frozenset(
    field.name
    for field in Claim.DESCRIPTOR.fields
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT64
)
"""Buckets whose value is a number in a Claim."""
_HINT = "use a claim type of this server's proto/types/v1/claim.proto"


def claim_key(claim: Claim, where: str) -> ClaimKey:
    """Return the key that a claim names.

    Args:
        claim: The claim, as sent.
        where: Its field's name, for errors.

    Raises:
        Invalid: The claim is empty, or of a type that only newer clients know.
    """
    bucket = claim.WhichOneof("claim")
    if bucket is None:
        unknown = UnknownFieldSet(claim)
        if len(unknown):
            number = unknown[0].field_number
            raise Invalid(Problem(where, f"claim type {number} is not known here", _HINT))
        raise Invalid(Problem(where, "no claim is set", "set exactly one of its fields"))
    return ClaimKey(bucket, str(getattr(claim, bucket)))


def bucket_key(bucket: Bucket, where: str) -> ClaimKey:
    """Return the key that a claims.v1.Bucket names.

    Raises:
        Invalid: The bucket is of a type that only newer clients know.
    """
    return ClaimKey(bucket_name(bucket.type, f"{where}.type"), bucket.value)


def bucket_name(number: int, where: str) -> str:
    """Return the bucket of a number of Bucket.Type or ClaimType.

    Raises:
        Invalid: The protocol has no such number.
    """
    name = BUCKETS.get(number)
    if name is None:
        raise Invalid(Problem(where, f"bucket type {number} is not known here", _HINT))
    return name


def claim_of(bucket: str, value: str) -> Claim:
    """Return the claim that names a stored key. The bucket must be one of the protocol's."""
    claim = Claim()
    setattr(claim, bucket, int(value) if bucket in IDS else value)
    return claim
