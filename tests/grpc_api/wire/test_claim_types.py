"""Claims and buckets of the protocol are claim keys, in both directions."""

from __future__ import annotations

import pytest

from control_plane.grpc_api.generated.claims.v1.messages_pb2 import Bucket
from control_plane.grpc_api.generated.types.v1.claim_pb2 import Claim
from control_plane.grpc_api.wire.claim_types import (
    BUCKETS,
    IDS,
    NUMBERS,
    bucket_key,
    bucket_name,
    claim_key,
    claim_of,
)
from control_plane.topology.values.claim_key import normalise
from control_plane.topology.values.errors import Invalid
from tests.grpc_api.wire_client import num, sub

UNKNOWN = 999


@pytest.mark.parametrize("bucket", sorted(NUMBERS))
def test_every_claim_of_the_protocol_is_a_key_and_back(bucket: str) -> None:
    text = "x.example" if bucket.startswith("pages_") else "some.name@x.example"
    value = "42" if bucket in IDS else text
    claim = claim_of(bucket, value)
    assert claim_key(claim, "claim") == (bucket, value)
    message = Bucket(type=NUMBERS[bucket], value=value)
    assert bucket_key(message, "bucket") == (bucket, value)
    assert normalise(bucket, value), "the topology has a rule for it"


def test_buckets_have_the_numbers_of_the_bucket_type() -> None:
    names = {number: name for name, number in Bucket.Type.items() if number}
    assert set(names) <= set(BUCKETS)


def test_a_claim_without_a_value_is_refused() -> None:
    with pytest.raises(Invalid, match=r"claims\[3\].*no claim is set"):
        claim_key(Claim(), "claims[3]")


def test_a_claim_that_only_newer_clients_know_is_refused_by_its_number() -> None:
    claim = Claim.FromString(sub(UNKNOWN, "x"))
    with pytest.raises(Invalid, match=f"claim type {UNKNOWN} is not known here"):
        claim_key(claim, "claim")


def test_a_bucket_that_only_newer_clients_know_is_refused_by_its_number() -> None:
    bucket = Bucket.FromString(num(1, UNKNOWN))
    with pytest.raises(Invalid, match=rf"x\.type.*bucket type {UNKNOWN} is not known here"):
        bucket_key(bucket, "x")
    with pytest.raises(Invalid, match="bucket type 0"):
        bucket_name(0, "x")
