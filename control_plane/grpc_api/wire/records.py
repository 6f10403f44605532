"""Translates claims.v1's Metadata, Record and LeaseRecord into the topology's values and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from control_plane.grpc_api.generated.claims.v1 import messages_pb2 as pb
from control_plane.grpc_api.generated.types.v1 import claim_pb2, uuid_pb2
from control_plane.grpc_api.wire.claim_types import (
    IDS,
    NUMBERS,
    bucket_key,
    claim_key,
    claim_of,
)
from control_plane.names import MAX_RECORDS
from control_plane.topology.values.claim import Lease, Record, RecordSpec, RecordStatus
from control_plane.topology.values.claim_key import ClaimKey
from control_plane.topology.values.errors import Invalid, Problem

_KEY_FIELD = pb.Source.DESCRIPTOR.fields_by_name["rails_primary_key_id"].number
_VARINT = 0
_STATUS: Mapping[RecordStatus, pb.Record.Status] = MappingProxyType(
    {
        RecordStatus.ACTIVE: pb.Record.ACTIVE,
        RecordStatus.CREATING: pb.Record.LEASE_CREATING,
        RecordStatus.DESTROYING: pb.Record.LEASE_DESTROYING,
    }
)


def key_of(bucket: pb.Bucket | None, claim: claim_pb2.Claim | None, where: str) -> ClaimKey:
    """Return the key that a message names by its bucket (older clients), its claim, or by both.

    If both are there, the key has the bucket's spelling, since a number in a claim has none.

    Raises:
        Invalid: Neither is there, they differ, or one is of a type that only newer clients know.
    """
    by_claim = None if claim is None else claim_key(claim, f"{where}claim")
    by_bucket = None if bucket is None else bucket_key(bucket, f"{where}bucket")
    if by_claim is not None and by_bucket is not None and not _alike(by_claim, by_bucket):
        hint = "send one of the two, or the same in both"
        raise Invalid(Problem(f"{where}claim", "it differs from bucket", hint))
    key = by_bucket or by_claim
    if key is None:
        raise Invalid(Problem(f"{where}bucket", "it is missing", "say what is claimed"))
    return key


def _alike(by_claim: ClaimKey, by_bucket: ClaimKey) -> bool:
    if by_claim == by_bucket:
        return True
    # The text of a bucket can spell a number as "007", the number in a claim can't.
    bucket, value = by_bucket
    return bucket in IDS and by_claim == (bucket, value.strip().lstrip("0"))


def specs_of(records: Sequence[pb.Metadata], where: str) -> list[RecordSpec]:
    """Return the records that a request names.

    Raises:
        Invalid: A record is wrong, or they are too many. The error names the place, for example
            ``create_records[3]``.
    """
    if len(records) > MAX_RECORDS:
        raise Invalid(Problem(where, f"{len(records)} records", f"send at most {MAX_RECORDS}"))
    return [spec_of(record, f"{where}[{index}].") for index, record in enumerate(records)]


def spec_of(metadata: pb.Metadata, where: str) -> RecordSpec:
    """Return the record that a message names.

    Types of subjects and sources are stored as they were sent, even those that this server does not
    know.

    Raises:
        Invalid: The record has no key, or its primary key is of a wrong type.
    """
    bucket, value = key_of(
        metadata.bucket if metadata.HasField("bucket") else None,
        metadata.claim if metadata.HasField("claim") else None,
        where,
    )
    user_data = metadata.user_data.SerializeToString() if metadata.HasField("user_data") else b""
    return RecordSpec(
        bucket,
        value,
        metadata.subject.type,
        metadata.subject.id,
        metadata.source.type,
        _primary_key(metadata.source, f"{where}source.rails_primary_key_id"),
        user_data,
    )


def _primary_key(source: pb.Source, where: str) -> bytes:
    """Return the primary key in bytes, as newer clients send it.

    Older clients send an int64, which becomes its eight bytes.
    """
    if source.rails_primary_key_id:
        return source.rails_primary_key_id
    unknown = UnknownFieldSet(source)
    for index in range(len(unknown)):
        field = unknown[index]
        if field.field_number == _KEY_FIELD:
            if field.wire_type != _VARINT:
                hint = "send bytes, or (older clients) an int64"
                raise Invalid(Problem(where, "it is of another type", hint))
            number: int = field.data
            return number.to_bytes(8, "big")
    return b""


def record_message(record: Record) -> pb.Record:
    """Return a stored claim as a message, which names it both by its bucket and by its claim."""
    spec = record.spec
    message = pb.Record(
        uuid=uuid_pb2.UUID(value=record.uuid),
        cell_id=record.cell_id,
        status=_STATUS[record.status],
        created_at=_timestamp(record.created_at),
        updated_at=_timestamp(record.updated_at),
    )
    metadata = message.metadata
    metadata.bucket.type = NUMBERS[spec.bucket]  # type: ignore[assignment]  # any number of the enum
    metadata.bucket.value = spec.value
    metadata.claim.CopyFrom(claim_of(spec.bucket, spec.value))
    metadata.subject.type = spec.subject_type  # type: ignore[assignment]
    metadata.subject.id = spec.subject_id
    metadata.source.type = spec.source_type  # type: ignore[assignment]
    metadata.source.rails_primary_key_id = spec.source_id
    if spec.user_data:
        metadata.user_data.CopyFrom(AnyMessage.FromString(spec.user_data))
    if record.lease is not None:
        message.lease_uuid.value = record.lease
    return message


def lease_message(lease: Lease) -> pb.LeaseRecord:
    """Return an open lease as a message."""
    return pb.LeaseRecord(
        uuid=uuid_pb2.UUID(value=lease.uuid),
        created_at=_timestamp(lease.created_at),
        updated_at=_timestamp(lease.updated_at),
    )


def uuid_text(text: str, where: str) -> str:
    """Return a UUID as it is stored: in lower case, with hyphens.

    Raises:
        Invalid: The text is no UUID.
    """
    try:
        return str(UUID(text))
    except ValueError as error:
        raise Invalid(Problem(where, f"{text[:64]!r} is no UUID", "send one as given")) from error


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
