"""The first ClaimService, by raw bytes and by our generated client."""

from __future__ import annotations

import pytest

from control_plane.grpc_api.generated import claim_service_pb2 as pb
from control_plane.grpc_api.generated import claim_service_pb2_grpc
from tests.grpc_api.first_claims_messages import CELL_2, CREATE, GET, details
from tests.grpc_api.wire_client import Wire, fields, num, sub


@pytest.mark.parametrize("wire", ["sqlite", "postgresql"], indirect=True)
async def test_create_and_get(wire: Wire) -> None:
    for parent in (1, 2, 3):
        sent = details(f"group-{parent}", parent)
        # CreateClaimRequest: details=1; the answer: claim=1 {uuid=1, details=2, cell_info=3}.
        ((number, info),) = fields(await wire.raw(CREATE, sub(1, sent), **CELL_2))
        assert number == 1
        assert [part for part, _ in fields(info)] == [1, 2, 3]
        uuid, kept, cell = (value for _, value in fields(info))
        assert len(uuid) == 36
        assert kept == sent
        assert dict(fields(cell))[1] == 2
        request = sub(1, num(1, 1) + sub(2, f"group-{parent}"))
        assert await wire.raw(GET, request) == sub(1, info)
    assert wire.topology.open_leases.page() == [], "nothing stays open"
    assert len(fields(await wire.raw("ClaimService/GetCells"))) == 3


@pytest.mark.parametrize(
    ("method", "request_bytes", "options", "code", "text"),
    [
        (CREATE, sub(1, details("gitlab-org")), CELL_2, "ALREADY_EXISTS", "gitlab-org"),
        (CREATE, sub(1, details("x")), {}, "PERMISSION_DENIED", "x-cellway-cell-id"),
        (CREATE, sub(1, details("x")), {"metadata": (("x-cellway-cell-id", "a"),)}, "INVALID_ARGUMENT", "no cell id"),
        (CREATE, sub(1, details("x")), {"metadata": (("x-cellway-cell-id", "02"),)}, "INVALID_ARGUMENT", "no cell id"),
        (CREATE, sub(1, details("x")), {"metadata": (("x-cellway-cell-id", "9"),)}, "NOT_FOUND", "cell"),
        (CREATE, sub(1, details("x", bucket=2)), CELL_2, "INVALID_ARGUMENT", "details.claim.bucket: 2"),
        (CREATE, sub(1, details("x", parent=4)), CELL_2, "INVALID_ARGUMENT", "details.parent.model: 4"),
        (CREATE, sub(1, details("x", table=2)), CELL_2, "INVALID_ARGUMENT", "details.owner"),
        (CREATE, b"", CELL_2, "INVALID_ARGUMENT", "bucket"),
        (GET, sub(1, num(1, 1) + sub(2, "nobody")), {}, "NOT_FOUND", "nobody"),
        (GET, b"", {}, "INVALID_ARGUMENT", "claim.bucket"),
    ],
)  # fmt: skip
async def test_refusals(
    wire: Wire, method: str, request_bytes: bytes, options: dict[str, object], code: str, text: str
) -> None:
    got = await wire.refused(method, request_bytes, **options)
    assert got[0] == code
    assert text in got[1]


async def test_our_generated_client(wire: Wire) -> None:
    stub = claim_service_pb2_grpc.ClaimServiceStub(wire.channel)
    request = pb.GetClaimRequest(claim=pb.ClaimRecord(bucket="ROUTES", value="gitlab-org"))
    info = (await stub.GetClaim(request)).claim
    # Claimed by an operator: no parent and no owner are known.
    assert (info.cell_info.id, info.details.parent.model, info.details.owner.id) == (2, 0, 0)
