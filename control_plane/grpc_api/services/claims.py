"""claims.v1.ClaimService: it changes claims under a lease, then commits or rolls back the lease."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from control_plane.grpc_api.directory import LiveDirectories, info_of_cell
from control_plane.grpc_api.generated.claims.v1 import messages_pb2, service_pb2
from control_plane.grpc_api.generated.types.v1.uuid_pb2 import UUID
from control_plane.grpc_api.server.methods import Call, ServiceMethods
from control_plane.grpc_api.server.write_queue import QueuedWrite
from control_plane.grpc_api.wire.claim_types import NUMBERS, bucket_name
from control_plane.grpc_api.wire.records import (
    key_of,
    lease_message,
    record_message,
    specs_of,
    uuid_text,
)
from control_plane.names import MAX_RECORDS
from control_plane.topology import Topology
from control_plane.topology.values.cell import MAX_CELL_ID
from control_plane.topology.values.change import Written
from control_plane.topology.values.claim import Lease
from control_plane.topology.values.errors import Invalid, NotFound, Problem

PAGE = 100
"""Leases in a page if the client names no limit."""
MAX_PAGE = 999
"""Leases in a page at most. One more is read, to know whether there are more."""
MAX_RECORD_BYTES = 3 << 20
"""Bytes of the records in an answer at most. Clients take 4 MiB by default."""
_EARLY = (
    "fields 3 and 4 are bucket_types and source_id_gt; early clients sent next and limit there: "
    "use a newer client"
)


class ClaimService:
    """``gitlab.cells.topology_service.claims.v1.ClaimService``.

    Methods that return a message block. Those that return a `QueuedWrite` don't.
    """

    def __init__(self, topology: Topology, live: LiveDirectories) -> None:
        self._topology = topology
        self._live = live

    def methods(self) -> ServiceMethods:
        """Return the methods by name."""
        return ServiceMethods(
            service_pb2.DESCRIPTOR.services_by_name["ClaimService"],
            lookups={"GetCells": self._live.get_cells},
            pooled={
                "GetRecord": self.get_record,
                "ListLeases": self.list_leases,
                "ListRecords": self.list_records,
            },
            beginning={"BeginUpdate": self.begin_update},
            settling={
                "CommitUpdate": self.commit_update,
                "RollbackUpdate": self.rollback_update,
            },
        )

    def get_record(self, request: service_pb2.GetRecordRequest, _: Call) -> Message:
        """Return a claim and its cell."""
        bucket, value = key_of(
            request.bucket if request.HasField("bucket") else None,
            request.claim if request.HasField("claim") else None,
            "",
        )
        record = self._topology.records.get(bucket, value)
        return service_pb2.GetRecordResponse(
            record=record_message(record), cell_info=info_of_cell(self._topology, record.cell_id)
        )

    def begin_update(self, request: service_pb2.BeginUpdateRequest, call: Call) -> QueuedWrite:
        """Lock the claims to create and to destroy under a new lease: all of them or none."""
        write = self._topology.leases.beginning(
            _cell_id(request.cell_id),
            specs_of(request.create_records, "create_records"),
            specs_of(request.destroy_records, "destroy_records"),
            actor=call.actor,
            idempotency_key=call.idempotency_key,
        )
        return QueuedWrite(write, _begun)

    def commit_update(self, request: service_pb2.CommitUpdateRequest, call: Call) -> QueuedWrite:
        """Make a lease's changes final."""
        lease = uuid_text(request.lease_uuid.value, "lease_uuid")
        cell_id = _cell_id(request.cell_id)
        write = self._topology.leases.settling(cell_id, lease, "committed", actor=call.actor)
        return QueuedWrite(write, lambda _: service_pb2.CommitUpdateResponse())

    def rollback_update(
        self, request: service_pb2.RollbackUpdateRequest, call: Call
    ) -> QueuedWrite:
        """Undo a lease's changes."""
        lease = uuid_text(request.lease_uuid.value, "lease_uuid")
        cell_id = _cell_id(request.cell_id)
        write = self._topology.leases.settling(cell_id, lease, "rolled back", actor=call.actor)
        return QueuedWrite(write, lambda _: service_pb2.RollbackUpdateResponse())

    def list_leases(self, request: service_pb2.ListLeasesRequest, _: Call) -> Message:
        """Return a page of the cell's open leases. ``next`` is set if there are more."""
        limit = request.limit if request.HasField("limit") else PAGE
        if limit < 1:
            raise Invalid(Problem("limit", f"{limit} is too small", f"1 to {MAX_PAGE}"))
        limit = min(limit, MAX_PAGE)
        leases = self._topology.open_leases.page(
            _cell_id(request.cell_id),
            after=_cursor(request.next) if request.HasField("next") else None,
            limit=limit + 1,
            created_after=_time(request.created_after)
            if request.HasField("created_after")
            else None,
        )
        page = leases[:limit]
        response = service_pb2.ListLeasesResponse(leases=map(lease_message, page))
        if len(leases) > limit:
            response.next.Pack(UUID(value=page[-1].uuid))
        return response

    def list_records(self, request: service_pb2.ListRecordsRequest, _: Call) -> Message:
        """Return the cell's records of one source table, ordered by primary key.

        The keys returned are greater than ``source_id_gt`` and at most ``source_id_lte``.
        """
        _refuse_early(request)
        records, truncated = self._topology.records.page(
            _cell_id(request.cell_id),
            source_type=_source_type(request.source_type),
            buckets=_buckets(request),
            after=request.source_id_gt,
            upto=request.source_id_lte or None,
            limit=MAX_RECORDS,
        )
        messages = [record_message(record) for record in records]
        count = fitting(messages, MAX_RECORD_BYTES)
        return service_pb2.ListRecordsResponse(
            records=messages[:count], truncated=truncated or count < len(messages)
        )


def fitting(records: Sequence[messages_pb2.Record], max_bytes: int) -> int:
    """Return how many records fit into an answer of ``max_bytes``.

    The client goes on after the last primary key that it got, so all records of one key are
    returned together. Those of the first key always are, or the client could not go on.

    Example: records with the keys ``[1, 1, 2, 2, 3]``, of which four fit, give 4. If three fit,
    they give 2.
    """
    size, complete = 0, 0
    for index, record in enumerate(records):
        key = record.metadata.source.rails_primary_key_id
        if index and key != records[index - 1].metadata.source.rails_primary_key_id:
            complete = index
        size += record.ByteSize() + 6
        if size > max_bytes and complete:
            return complete
    return len(records)


def _begun(done: Written[Lease]) -> Message:
    lease = done.value
    return service_pb2.BeginUpdateResponse(cell_id=lease.cell_id, lease_uuid=UUID(value=lease.uuid))


def _cell_id(cell_id: int) -> int:
    if cell_id < 1:
        raise Invalid(Problem("cell_id", f"{cell_id} is no cell", "send the cell's id, from 1 on"))
    if cell_id > MAX_CELL_ID:
        raise NotFound("cell", str(cell_id))
    return cell_id


def _source_type(number: int) -> int:
    if number < 1:
        raise Invalid(Problem("source_type", "it is missing", "send one of Source.Type"))
    return number


def _buckets(request: service_pb2.ListRecordsRequest) -> frozenset[str]:
    """Return the buckets to list: those of either filter, or without one all of the protocol."""
    by_bucket = {bucket_name(n, _filter(request, "bucket_types")) for n in request.bucket_types}
    by_claim = {bucket_name(number, "claim_types") for number in request.claim_types}
    if by_bucket and by_claim and by_bucket != by_claim:
        hint = "send one of the two, or the same in both"
        raise Invalid(Problem("claim_types", "they differ from bucket_types", hint))
    return frozenset(by_bucket or by_claim or NUMBERS)


def _filter(request: service_pb2.ListRecordsRequest, name: str) -> str:
    """Return a field's name for an error, with a hint if an early client may have filled it."""
    # Early clients send an Any there. It begins with its type URL, and a list of numbers reads
    # that as 10, the URL's length, "t", "y" and so on.
    early = len(request.bucket_types) > 2 and request.bucket_types[2] == ord("t")
    return f"{name} ({_EARLY})" if early else name


def _refuse_early(request: service_pb2.ListRecordsRequest) -> None:
    unknown = UnknownFieldSet(request)
    if any(unknown[index].field_number in {3, 4} for index in range(len(unknown))):
        raise Invalid(Problem("request", "it has the numbers of an early client", _EARLY))


def _cursor(packed: AnyMessage) -> str:
    cursor = UUID()
    try:
        is_cursor = packed.Unpack(cursor)
    except DecodeError:
        is_cursor = False
    if not is_cursor:
        raise Invalid(Problem("next", "it is none of ours", "send the next of the last answer"))
    return uuid_text(cursor.value, "next")


def _time(stamp: Timestamp) -> datetime:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid(Problem("created_after", str(error), "send a valid Timestamp")) from error
