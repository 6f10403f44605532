"""Envoy decides by the map of owners, although nobody else could: the classifier is dead."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.edge_module.build import build
from control_plane.routing.tokens import encode_routable_token
from control_plane.topology import Subject
from control_plane.topology.values.claim import ClaimSpec
from tests.support.conditions import wait_until
from tests.support.edge_map import map_in_step
from tests.support.ports import unused_port
from tests.support.raw_client import RawClient
from tests.support.system import System

Told = tuple[int, str | None, str | None]
"""Status, cell and tier."""
NOBODY = 404
REFUSED: Told = (503, None, None)
RULES = {
    "name": "names",
    "defaults": {"on_classifier_down": {"status": 503}, "on_cell_down": {"status": 503}},
    "rules": [
        {
            "id": "session",
            "match": {"type": "cookie", "name": "^_s$", "regexValue": "^(?<p>[^-]+-[0-9]+)-"},
            "on_unknown": "next",
            "action": "classify",
            "classify": {"type": "SESSION_PREFIX", "value": "${p}"},
        },
        {
            "id": "tenant",
            "match": {"type": "path", "regexValue": "^/(?<tenant>[^/]+)"},
            "on_unknown": {"status": 404},
            "action": "classify",
            "classify": {"claims": [{"tenant": "${tenant}"}]},
        },
    ],
}


def without_classifier(directory: Any, **more: Any) -> System:
    roles = ("api", "xds", "topology")
    return System(
        directory,
        module=build(),
        roles=roles,
        classifier_port=unused_port(),
        edge_map_unknown_asked=0,
        **more,
    )


@pytest.fixture
def system(tmp_path: Any) -> Iterator[System]:
    with without_classifier(tmp_path) as running:
        running.add_cells()
        yield running


def told(client: RawClient, path: bytes, *headers: tuple[str, bytes]) -> Told:
    status, answered, _ = client.ask(path, list(headers))
    return status, answered.get("x-cellway-cell"), answered.get("x-cellway-tier")


def by_map(cell: str) -> Told:
    return 200, cell, "edge-map"


def test_gitlabs_names_and_credentials_are_decided_without_a_question(system: System) -> None:
    system.use_ruleset("gitlab")
    system.claim("cell-2", "route:foo", "project_id:42", "route:foo/bar", "username:jane")
    system.claim("cell-3", "organization_id:9")
    map_in_step(system)
    token = encode_routable_token("glpat-", {"c": 3, "u": 5}, bytes(16)).encode()
    of_organization = encode_routable_token("glpat-", {"o": 9}, bytes(16)).encode()
    with RawClient(system.edge_port) as client:
        for path in (b"/foo", b"/foo/bar/-/issues", b"/api/v4/projects/42", b"/users/jane/x"):
            assert told(client, path) == by_map("cell-2"), path
        assert told(client, b"/api/v4/user", ("private-token", of_organization)) == by_map("cell-3")
        assert told(client, b"/api/v4/user", ("private-token", token)) == (200, "cell-3", "native")
        session = ("cookie", b"_gitlab_session=cell-1-0f1e")
        assert told(client, b"/-/x", session) == (200, "cell-1", "native")


def test_one_connection_sees_every_change_at_once(system: System) -> None:
    """The connection has the filters that it began with, the requests the newest of all else."""
    system.use_ruleset(RULES)
    topology = system.plane.topology
    topology.claims.claim([ClaimSpec("tenant", "acme", "cell-1", subject="s")], actor="t")
    map_in_step(system)
    with RawClient(system.edge_port) as client:
        assert told(client, b"/acme/x") == by_map("cell-1")
        wait_until(lambda: told(client, b"/nobody")[0] == NOBODY)
        system.claim("cell-3", "tenant:nobody")
        map_in_step(system)
        assert told(client, b"/nobody") == by_map("cell-3")
        topology.moves.move(Subject(text="s"), "cell-1", "cell-2", reason="r", actor="t")
        system.in_step()
        map_in_step(system)
        assert told(client, b"/acme/x") == by_map("cell-2")
        system.use_ruleset(json.loads(json.dumps(RULES).replace("^/(?", "^/t/(?")))
        assert told(client, b"/t/acme/x") == by_map("cell-2")
        for state, answer in (("drained", REFUSED), ("active", by_map("cell-2"))):
            change = {"state": state}
            system.write(
                "PATCH",
                "/v1/cells/cell-2?wait=fleet&force=true&reason=test",
                change,
                **{"if-match": "*"},
            )
            assert told(client, b"/t/acme/x")[0] == answer[0]


@contextlib.contextmanager
def held_back(system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the owners' stream bring nothing new; it goes on to beat."""

    async def reads_nothing() -> bool:
        return False

    role = system.plane.xds_role
    assert role is not None
    with monkeypatch.context() as patch:
        patch.setattr(role.owners.feed, "step", reads_nothing)
        yield


def test_a_new_name_is_found_before_the_stream_has_brought_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = "dynamicmodulescustom[.]cellway_edge_doubts[.]reason[.]unknown_asked"
    with System(tmp_path, module=build()) as system:
        system.add_cells()
        system.use_ruleset("gitlab")
        system.claim("cell-1", "route:before")
        map_in_step(system)
        with RawClient(system.edge_port) as client:
            wait_until(lambda: told(client, b"/before") == by_map("cell-1"))
            for number in range(8):
                cell = f"cell-{2 + number % 2}"
                with held_back(system, monkeypatch):
                    system.claim(cell, f"route:new-{number}", f"username:new-{number}")
                    assert told(client, b"/new-%d/x" % number)[:2] == (200, cell)
                    assert told(client, b"/users/new-%d" % number)[:2] == (200, cell)
                map_in_step(system)
                assert told(client, b"/users/new-%d" % number)[:2] == (200, cell)
        wait_until(lambda: sum(system.stats(asked).values()) >= 1)


def test_a_move_that_the_fleet_runs_is_never_answered_by_the_old_owner(system: System) -> None:
    """Once the epochs are there, the map counts only when it has the move itself."""
    system.use_ruleset(RULES)
    topology = system.plane.topology
    topology.claims.claim([ClaimSpec("tenant", "acme", "cell-1", subject="s")], actor="t")
    map_in_step(system)
    seen = set()
    with RawClient(system.edge_port) as client:
        for number in range(20):
            cells = ["cell-1", "cell-2"] if number % 2 == 0 else ["cell-2", "cell-1"]
            topology.moves.move(Subject(text="s"), *cells, reason="r", actor="t")
            system.in_step()
            for _ in range(5):
                status, cell, _ = told(client, b"/acme/x")
                seen.add(status)
                # The classifier is dead: what the map must not answer is refused.
                assert status == 503 or cell == cells[1]
    assert 200 in seen


def test_the_fleet_shows_the_map_of_an_envoy_without_a_certificate(system: System) -> None:
    """It names itself by its configuration's stream alone; both come by one connection."""
    system.use_ruleset(RULES)
    system.claim("cell-2", "tenant:acme")
    map_in_step(system)
    revision = system.plane.topology.revision()

    def shown() -> bool:
        fleet = system.api.get("/v1/fleet").json()
        (node,) = fleet["items"]
        told = node["edge_map"]
        assert not told or not fleet["other_edge_maps"]
        return told is not None and (told["revision"], told["names"]) == (revision, 1)

    wait_until(shown)
