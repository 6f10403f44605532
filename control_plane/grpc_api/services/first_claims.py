"""The first ClaimService: it claims one route a call, and clients know nothing of leases."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from google.protobuf.message import Message

from control_plane.grpc_api.directory import LiveDirectories, info_of_cell
from control_plane.grpc_api.generated import claim_service_pb2 as pb
from control_plane.grpc_api.generated.claims.v1.messages_pb2 import Source, Subject
from control_plane.grpc_api.server.methods import Call, ServiceMethods
from control_plane.grpc_api.wire.status import CallError, Code
from control_plane.names import CELL_ID_METADATA
from control_plane.topology import Topology
from control_plane.topology.values.claim import Record, RecordSpec
from control_plane.topology.values.errors import Invalid, Problem

_BUCKET = "route"
_SUBJECTS: Mapping[int, int] = MappingProxyType(
    {
        pb.ParentRecord.UNSPECIFIED: Subject.UNSPECIFIED,
        pb.ParentRecord.GROUP: Subject.NAMESPACE,
        pb.ParentRecord.PROJECT: Subject.PROJECT,
        # With another subject, GetClaim could not return the model that CreateClaim was sent.
        pb.ParentRecord.USER_NAMESPACE: Subject.USER,
    }
)
_MODELS = MappingProxyType({subject: model for model, subject in _SUBJECTS.items()})
_ID_BYTES = 8


class FirstClaimService:
    """``gitlab.cells.topology_service.ClaimService``. Its methods block."""

    def __init__(self, topology: Topology, live: LiveDirectories) -> None:
        self._topology = topology
        self._live = live

    def methods(self) -> ServiceMethods:
        """Return the methods by name."""
        return ServiceMethods(
            descriptor=pb.DESCRIPTOR.services_by_name["ClaimService"],
            pooled={"CreateClaim": self.create_claim, "GetClaim": self.get_claim},
            lookups={"GetCells": self._live.get_cells},
        )

    def create_claim(self, request: pb.CreateClaimRequest, call: Call) -> Message:
        """Claim a route for the caller's cell, with a lease that is committed at once."""
        if call.cell_id is None:
            text = f"which cell claims? use a cell's certificate (without TLS: {CELL_ID_METADATA})"
            raise CallError(Code.PERMISSION_DENIED, text)
        spec = _spec(request.details)
        lease = self._topology.leases.begin(
            call.cell_id, [spec], [], actor=call.actor, idempotency_key=call.idempotency_key
        ).value
        self._topology.leases.commit(call.cell_id, lease.uuid, actor=call.actor)
        return pb.CreateClaimResponse(claim=self._info(spec.value))

    def get_claim(self, request: pb.GetClaimRequest, _: Call) -> Message:
        """Return a claim and its cell."""
        return pb.GetClaimResponse(claim=self._info(_route(request.claim, "claim")))

    def _info(self, route: str) -> pb.ClaimInfo:
        record = self._topology.records.get(_BUCKET, route)
        return pb.ClaimInfo(
            uuid=record.uuid,
            details=_details(record),
            cell_info=info_of_cell(self._topology, record.cell_id),
        )


def _route(claim: pb.ClaimRecord, where: str) -> str:
    if claim.bucket != pb.ClaimRecord.ROUTES:
        raise Invalid(Problem(f"{where}.bucket", f"{claim.bucket} is not known here", "use ROUTES"))
    return claim.value


def _spec(details: pb.ClaimDetails) -> RecordSpec:
    parent, owner = details.parent, details.owner
    if parent.model not in _SUBJECTS:
        hint = "use GROUP, PROJECT or USER_NAMESPACE"
        raise Invalid(Problem("details.parent.model", f"{parent.model} is not known here", hint))
    if owner.table not in {pb.OwnerRecord.UNSPECIFIED, pb.OwnerRecord.ROUTES} or owner.id < 0:
        hint = "use ROUTES and a positive id"
        raise Invalid(Problem("details.owner", f"{owner.table}/{owner.id} is none", hint))
    owned = owner.table == pb.OwnerRecord.ROUTES
    return RecordSpec(
        _BUCKET,
        _route(details.claim, "details.claim"),
        _SUBJECTS[parent.model],
        parent.id,
        Source.RAILS_TABLE_ROUTES if owned else Source.UNSPECIFIED,
        owner.id.to_bytes(_ID_BYTES, "big") if owned else b"",
    )


def _details(record: Record) -> pb.ClaimDetails:
    spec = record.spec
    details = pb.ClaimDetails(
        claim=pb.ClaimRecord(bucket=pb.ClaimRecord.ROUTES, value=spec.value),
        parent=pb.ParentRecord(id=spec.subject_id),
    )
    # This generation has no model for an organization, nor for what only newer clients know.
    model = _MODELS.get(spec.subject_type, pb.ParentRecord.UNSPECIFIED)
    details.parent.model = model  # type: ignore[assignment]  # any number of the enum
    if spec.source_type == Source.RAILS_TABLE_ROUTES and len(spec.source_id) == _ID_BYTES:
        details.owner.table = pb.OwnerRecord.ROUTES
        # The field is an int64. A larger number is no id of this generation.
        details.owner.id = min(int.from_bytes(spec.source_id, "big"), 2**63 - 1)
    return details
