"""A real Envoy that asks for the state of the world instead of differences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.raw_client import RawClient
from tests.support.system import REFUSED_CELL, System

CLUSTERS_KEPT = r"cluster_manager\.(active|warming)_clusters"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("sotw"), delta=False) as running:
        running.add_cells()
        running.claim("cell-1", "route:foo")
        running.use_ruleset("gitlab")
        yield running


def node(system: System) -> dict[str, Any]:
    (one,) = system.api.get("/v1/fleet").json()["items"]
    return dict(one)


def of_type(system: System, name: str) -> dict[str, Any]:
    return next(one for one in node(system)["types"] if one["type"] == name)


def change(system: System, cell: str, **fields: Any) -> None:
    path = f"/v1/cells/{cell}?wait=fleet&timeout=20s"
    system.write("PATCH", path, fields, **{"if-match": "*"})


def retire(system: System, cell: str) -> None:
    for state in ("draining", "drained", "retired"):
        change(system, cell, state=state)


def clusters(system: System) -> int:
    counts = system.stats(CLUSTERS_KEPT)
    assert counts["cluster_manager.warming_clusters"] == 0
    return counts["cluster_manager.active_clusters"]


def served_by(system: System, path: bytes, cookie: bytes = b"") -> str | None:
    with RawClient(system.edge_port) as client:
        _, headers, _ = client.ask(path, [("cookie", cookie)] if cookie else [])
    return headers.get("x-example-cell")


def test_it_starts_with_everything(system: System) -> None:
    status = node(system)
    assert (status["state"], status["connected"]) == ("SYNCED", True)
    versions = {one["type"]: one["acked_version"] for one in status["types"]}
    assert versions.keys() == {
        *("Cluster", "Listener", "RouteConfiguration", "Secret", "TypedExtensionConfig"),
    }
    assert all(len(version) == 16 for version in versions.values()), "content hashes"
    assert served_by(system, b"/foo/x") == "cell-1"
    assert served_by(system, b"/-/x", b"_gitlab_session=cell-2-a") == "cell-2"


def test_a_cell_that_changes_its_endpoint_takes_only_clusters(system: System) -> None:
    system.add_cell("cell-11", system.cell_ports["cell-1"])
    session = b"_gitlab_session=cell-11-a"
    assert served_by(system, b"/-/x", session) == "cell-1"
    others = ("Listener", "RouteConfiguration")
    before = [of_type(system, kind) for kind in others]
    change(system, "cell-11", endpoints=[f"127.0.0.1:{system.cell_ports['cell-3']}"])
    assert served_by(system, b"/-/x", session) == "cell-3"
    assert [of_type(system, kind) for kind in others] == before
    retire(system, "cell-11")


def test_a_cluster_that_changes_keeps_serving(system: System) -> None:
    system.add_cell("cell-12", system.cell_ports["cell-1"])
    session = b"_gitlab_session=cell-12-a"
    before = clusters(system)
    for path in ("/ok", "/fine", None):
        change(system, "cell-12", health_check_path=path)
        assert served_by(system, b"/-/x", session) == "cell-1"
        assert clusters(system) == before
    retire(system, "cell-12")


def test_a_removed_cell_is_gone_from_envoy(system: System) -> None:
    before = clusters(system)
    system.add_cell("cell-13", system.cell_ports["cell-1"])
    session = b"_gitlab_session=cell-13-a"
    assert clusters(system) == before + 1
    assert served_by(system, b"/-/x", session) == "cell-1"
    retire(system, "cell-13")
    assert clusters(system) == before
    assert node(system)["state"] == "SYNCED"
    with RawClient(system.edge_port) as client:
        assert client.ask(b"/foo/x")[1]["x-example-cell"] == "cell-1"


def test_what_it_refuses_holds_nothing_else_back(system: System) -> None:
    answer = system.api.post("/v1/cells?wait=fleet&timeout=20s", json=REFUSED_CELL)
    assert (answer.status_code, answer.json()["code"]) == (502, "fleet-refused")
    refused = of_type(system, "Cluster")
    assert (refused["state"], refused["rejected"]) == ("NACKED", ["cell:broken"])
    assert "ca.pem" in refused["error"]
    body = {
        "name": "cell-14",
        "address": "cell-14.example",
        "endpoints": [f"127.0.0.1:{system.cell_ports['cell-3']}"],
        "session_prefix": "cell-14",
        "state": "active",
    }
    # The fleet is not in step while "broken" is refused, so there is nothing to wait for.
    system.write("POST", "/v1/cells", body)
    change_seen = "/v1/cells/broken?wait=fleet&timeout=20s"
    with RawClient(system.edge_port) as client:
        for _ in range(500):
            headers = client.ask(b"/-/x", [("cookie", b"_gitlab_session=cell-14-a")])[1]
            if headers.get("x-example-cell") == "cell-3":
                break
        else:
            raise AssertionError("the good cell never came")
        assert client.ask(b"/foo/x")[1]["x-example-cell"] == "cell-1"
    assert of_type(system, "Cluster")["rejected"] == ["cell:broken"]
    system.write("PATCH", change_seen, {"tls": None}, **{"if-match": "*"})
    assert node(system)["state"] == "SYNCED"
    assert of_type(system, "Cluster")["rejected"] == []
