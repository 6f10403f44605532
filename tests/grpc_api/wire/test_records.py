"""Messages of claims.v1 and the topology's values, without a server."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from control_plane.grpc_api.generated.claims.v1 import messages_pb2 as pb
from control_plane.grpc_api.generated.types.v1.claim_pb2 import Claim
from control_plane.grpc_api.wire.records import (
    key_of,
    lease_message,
    record_message,
    spec_of,
    specs_of,
    uuid_text,
)
from control_plane.topology.values.claim import Lease, Record, RecordSpec, RecordStatus
from control_plane.topology.values.errors import Invalid
from tests.grpc_api.wire_client import num, sub

UUID = "0198c0de-0000-7000-8000-000000000001"
AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
SPEC = RecordSpec(
    "project_id",
    "42",
    3,
    7,
    2,
    b"\x00\x01",
    AnyMessage(type_url="x/y", value=b"z").SerializeToString(),
)


def record(status: RecordStatus = RecordStatus.ACTIVE, lease: str | None = None) -> Record:
    return Record(UUID, SPEC, 3, status, lease, AT, AT)


def test_a_record_shows_what_was_claimed() -> None:
    message = record_message(record())
    assert spec_of(message.metadata, "") == SPEC
    assert (message.metadata.bucket.value, message.metadata.claim.project_id) == ("42", 42)
    assert message.created_at.ToDatetime(tzinfo=UTC) == AT
    assert (message.uuid.value, message.cell_id) == (UUID, 3)
    assert not message.HasField("lease_uuid")


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (RecordStatus.ACTIVE, pb.Record.ACTIVE),
        (RecordStatus.CREATING, pb.Record.LEASE_CREATING),
        (RecordStatus.DESTROYING, pb.Record.LEASE_DESTROYING),
    ],
)
def test_a_record_shows_its_status_and_its_lease(status: RecordStatus, shown: int) -> None:
    message = record_message(record(status, "lease"))
    assert (message.status, message.lease_uuid.value) == (shown, "lease")


def test_a_lease_shows_its_times() -> None:
    message = lease_message(Lease(UUID, 3, AT, AT))
    assert message.uuid.value == UUID
    assert message.updated_at.ToDatetime(tzinfo=UTC) == AT


BUCKET_42 = pb.Bucket(type=pb.Bucket.PROJECT_IDS, value="42")


def test_a_key_is_named_by_bucket_or_claim_or_by_both_alike() -> None:
    claim = Claim(project_id=42)
    for bucket, other in ((BUCKET_42, None), (None, claim), (BUCKET_42, claim)):
        assert key_of(bucket, other, "") == ("project_id", "42")


def test_the_bucket_s_spelling_of_a_number_stays() -> None:
    spelled = pb.Bucket(type=pb.Bucket.PROJECT_IDS, value=" 0042")
    assert key_of(spelled, Claim(project_id=42), "") == ("project_id", " 0042")


@pytest.mark.parametrize("claim", [Claim(project_id=43), Claim(user_id=42)])
def test_bucket_and_claim_must_not_differ(claim: Claim) -> None:
    with pytest.raises(Invalid, match=r"x\.claim.*differs from bucket"):
        key_of(BUCKET_42, claim, "x.")


def test_a_record_without_a_key_is_named_by_its_place() -> None:
    with pytest.raises(Invalid, match=r"create_records\[1\]\.bucket.*missing"):
        specs_of([pb.Metadata(bucket=BUCKET_42), pb.Metadata()], "create_records")


def with_source(source: bytes) -> pb.Metadata:
    return pb.Metadata.FromString(
        pb.Metadata(bucket=BUCKET_42).SerializeToString() + sub(3, source)
    )


def test_the_number_of_an_older_client_is_the_same_key_as_its_bytes() -> None:
    number = spec_of(with_source(num(1, 2) + num(2, 7)), "").source_id
    assert number == spec_of(with_source(num(1, 2) + sub(2, b"\0" * 7 + b"\7")), "").source_id


def test_a_primary_key_of_another_type_is_refused() -> None:
    fixed32 = bytes([2 << 3 | 5]) + b"\0" * 4
    with pytest.raises(Invalid, match=r"r\.source\.rails_primary_key_id.*another type"):
        spec_of(with_source(fixed32), "r.")


@pytest.mark.parametrize("text", [UUID.upper(), UUID.replace("-", ""), f"{{{UUID}}}"])
def test_a_uuid_has_one_spelling(text: str) -> None:
    assert uuid_text(text, "lease_uuid") == UUID


@pytest.mark.parametrize("text", ["", "x", UUID + "0", "é"])
def test_what_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"lease_uuid.*is no UUID"):
        uuid_text(text, "lease_uuid")
