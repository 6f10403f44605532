"""A running control plane takes no cell that is itself, its edge, or a metadata service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.plane import plane_with, route_all, samples

METADATA = "169.254.169.254:80"


def cell(*endpoints: str) -> dict[str, object]:
    return {"name": "a", "address": "a.example", "endpoints": list(endpoints)}


async def test_its_own_ports_are_no_cell(tmp_path: Path) -> None:
    async with plane_with(tmp_path, edge_port=10_123) as (plane, api):
        ports = (plane.ports.api, plane.ports.grpc, plane.ports.classifier, 10_123)
        for endpoint in [
            METADATA,
            *(f"{host}:{port}" for host in ("127.0.0.1", "[::1]", "localhost") for port in ports),
        ]:
            answer = await api.post("/v1/cells", json=cell(endpoint))
            assert answer.status_code == 422, endpoint
            assert "endpoints" in answer.text
        assert (await api.post("/v1/cells", json=cell("127.0.0.1:1"))).status_code == 201


@pytest.mark.parametrize(("denied", "status"), [(None, 422), (["10.0.0.0/8"], 201)])
async def test_an_operator_may_choose_what_is_denied(
    tmp_path: Path, denied: list[str] | None, status: int
) -> None:
    async with plane_with(tmp_path, endpoint_networks_denied=denied) as (_, api):
        assert (await api.post("/v1/cells", json=cell(METADATA))).status_code == status


async def test_what_is_stored_and_denied_is_counted(tmp_path: Path) -> None:
    """The rest of the cell is published, and so is the whole cell once it is allowed."""
    async with plane_with(tmp_path, endpoint_networks_denied=[]) as (plane, api):
        assert (await api.post("/v1/cells", json=cell(METADATA, "10.0.0.1:80"))).is_success
        route_all(plane.topology)
    async with plane_with(tmp_path) as (plane, api):
        assert plane.topology.cells.get("a").endpoints[0].host == "169.254.169.254"
        assert (await samples(api))["cellway_cell_endpoints_denied", ()] == 1
    async with plane_with(tmp_path, endpoint_networks_denied=[]) as (plane, api):
        assert (await samples(api))["cellway_cell_endpoints_denied", ()] == 0
