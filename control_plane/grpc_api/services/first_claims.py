"""The first ClaimService: one claim of a route at a time, made without a lease of the client's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from google.protobuf.message import Message

from control_plane.grpc_api.directory import LiveDirectories, cell_info
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
        # Only so can GetClaim give back what CreateClaim was given.
        pb.ParentRecord.USER_NAMESPACE: Subject.USER,
    }
)
_MODELS = MappingProxyType({subject: model for model, subject in _SUBJECTS.items()})
_ID_BYTES = 8


class FirstClaimService:
    """The methods of the service. All but `get_cells` block."""

    def __init__(self, topology: Topology, live: LiveDirectories) -> None:
        self._topology = topology
        self._live = live

    def service(self) -> ServiceMethods:
        """``gitlab.cells.topology_service.ClaimService``."""
        return ServiceMethods(
            pb.DESCRIPTOR.services_by_name["ClaimService"],
            lookups={"GetCells": self.get_cells},
            pooled={"CreateClaim": self.create_claim, "GetClaim": self.get_claim},
        )

    def get_cells(self, _: Message) -> Message:
        """Every cell."""
        return self._live.of_this_thread().current().response

    def create_claim(self, request: pb.CreateClaimRequest, call: Call) -> Message:
        """Claim a route for the caller's cell: begun and committed in one call."""
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
        """One claim and its cell."""
        return pb.GetClaimResponse(claim=self._info(_route(request.claim, "claim")))

    def _info(self, route: str) -> pb.ClaimInfo:
        record = self._topology.records.get(_BUCKET, route)
        info = pb.ClaimInfo(uuid=record.uuid, details=_details(record))
        for cell in self._topology.cells.all():
            if cell.id == record.cell_id:
                info.cell_info.CopyFrom(cell_info(cell))
        return info


def _route(claim: pb.ClaimRecord, where: str) -> str:
    if claim.bucket != pb.ClaimRecord.ROUTES:
        raise Invalid(Problem(f"{where}.bucket", f"{claim.bucket} is not known here", "use ROUTES"))
    return claim.value


def _spec(details: pb.ClaimDetails) -> RecordSpec:
    parent, owner = details.parent, details.owner
    if parent.model not in _SUBJECTS:
        mend = "use GROUP, PROJECT or USER_NAMESPACE"
        raise Invalid(Problem("details.parent.model", f"{parent.model} is not known here", mend))
    if owner.table not in {pb.OwnerRecord.UNSPECIFIED, pb.OwnerRecord.ROUTES} or owner.id < 0:
        mend = "use ROUTES and a positive id"
        raise Invalid(Problem("details.owner", f"{owner.table}/{owner.id} is none", mend))
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
    # An organization, or what only newer clients know, has no name here.
    model = _MODELS.get(spec.subject_type, pb.ParentRecord.UNSPECIFIED)
    details.parent.model = model  # type: ignore[assignment]  # any number of the enum
    if spec.source_type == Source.RAILS_TABLE_ROUTES and len(spec.source_id) == _ID_BYTES:
        details.owner.table = pb.OwnerRecord.ROUTES
        # An int64: what is larger is no id of this generation.
        details.owner.id = min(int.from_bytes(spec.source_id, "big"), 2**63 - 1)
    return details
