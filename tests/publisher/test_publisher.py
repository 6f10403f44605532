"""What the publisher makes of a commit: with the edge cache on, a move changes the epochs alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import CDS, ECDS, EPOCHS_FILTER, RDS
from control_plane.publisher.publisher import Publisher, _Reader
from control_plane.topology import Subject, Topology
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.change import Snapshot as TopologySnapshot
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache
from tests.support.plane import RULESET, add_cell, route_all

UNNAMED = """{"name": "r", "rules": [{"id": "any",
    "match": {"type": "header", "name": "^x-[a-z]+$", "regexValue": "^(?<t>.+)$"},
    "action": "classify", "classify": {"claims": [{"tenant": "${t}"}]}}]}"""
"""Which headers its answers depend on can't be named, so they are not kept."""
GENERIC = (Path(__file__).parents[2] / "rulesets" / "generic.json").read_text()


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    made = Topology.open(f"sqlite:///{tmp_path}/p.db")
    for number in (1, 2):
        add_cell(made, f"cell-{number}")
    route_all(made)
    made.claims.claim([ClaimSpec("route", "a", "cell-1", subject="s")], actor="t")
    yield made
    made.close()


def publishing(topology: Topology, cache: SnapshotCache, **policy: Any) -> Publisher:
    return Publisher(
        topology,
        cache,
        TrafficPolicy(**policy),
        poll_interval_s=1,
        on_published=lambda _, __: None,
    )


def changed(new: Snapshot, old: Snapshot) -> dict[str, frozenset[str]]:
    return {kind: names for kind, names in new.changed(old).items() if names}


def test_only_a_change_of_owner_changes_something_and_that_is_the_epochs(
    topology: Topology,
) -> None:
    cache = SnapshotCache()
    publisher = publishing(topology, cache)
    publisher.publish()
    first = cache.get("")
    assert EPOCHS_FILTER in first.of_type(ECDS)
    topology.claims.claim([ClaimSpec("route", "b", "cell-1")], actor="t")
    publisher.publish()
    second = cache.get("")
    assert second.revision > first.revision
    assert changed(second, first) == {}
    topology.moves.move(Subject(text="s"), "cell-1", "cell-2", reason="r", actor="t")
    publisher.publish()
    third = cache.get("")
    assert changed(third, second) == {ECDS: frozenset({EPOCHS_FILTER})}
    assert f":{third.revision}".encode() in third.of_type(ECDS)[EPOCHS_FILTER].body
    fresh = SnapshotCache()
    publishing(topology, fresh).publish()
    assert changed(fresh.get(""), third) == {}, "a restarted publisher makes the same"


def test_new_endpoints_void_no_answers_and_a_drain_voids_all(topology: Topology) -> None:
    cache = SnapshotCache()
    publisher = publishing(topology, cache)
    publisher.publish()
    first = cache.get("")
    spec = topology.cells.get("cell-1").spec()
    topology.cells.replace(
        "cell-1", replace(spec, endpoints=(Endpoint("127.0.0.1", 9),)), actor="t"
    )
    publisher.publish()
    second = cache.get("")
    assert changed(second, first) == {CDS: frozenset({"cell:cell-1"})}
    fresh = SnapshotCache()
    publishing(topology, fresh).publish()
    assert changed(fresh.get(""), second) == {}, "a restarted publisher makes the same"
    topology.cells.set_state("cell-1", CellState.DRAINING, actor="t")
    publisher.publish()
    third = cache.get("")
    assert changed(third, second)[ECDS] == {EPOCHS_FILTER}
    assert f"{third.revision};".encode() in third.of_type(ECDS)[EPOCHS_FILTER].body


@pytest.mark.parametrize("policy", [{"edge_cache_entries": 0}, {"classifier_protocol": "grpc"}])
def test_without_the_edge_cache_there_are_no_epochs(
    topology: Topology, policy: dict[str, Any]
) -> None:
    cache = SnapshotCache()
    publisher = publishing(topology, cache, **policy)
    publisher.publish()
    first = cache.get("")
    assert EPOCHS_FILTER not in first.of_type(ECDS)
    topology.moves.move(Subject(text="s"), "cell-1", "cell-2", reason="r", actor="t")
    publisher.publish()
    assert changed(cache.get(""), first) == {}


@pytest.mark.parametrize("policy", [{}, {"edge_cache_entries": 0}, {"classifier_protocol": "grpc"}])
def test_a_change_of_rules_changes_the_routes_and_the_epochs_and_drains_nothing(
    topology: Topology, policy: dict[str, Any]
) -> None:
    """The names of filter configurations stay, too: the listener says which an Envoy asks for."""
    cache = SnapshotCache()
    publisher = publishing(topology, cache, **policy)
    publisher.publish()
    for version, document in enumerate((UNNAMED, GENERIC, RULESET), 2):
        before = cache.get("")
        topology.rulesets.put("r", document, actor="t")
        topology.rulesets.activate("r", version, actor="t")
        publisher.publish()
        after = cache.get("")
        assert set(after.of_type(ECDS)) == set(before.of_type(ECDS))
        assert set(changed(after, before)) <= {RDS, ECDS}


def test_claims_alone_do_not_have_everything_read_again(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    real = topology.snapshot

    def counting() -> TopologySnapshot:
        reads.append(topology.revision())
        return real()

    monkeypatch.setattr(topology, "snapshot", counting)
    reader = _Reader(topology)
    assert reader.read(behind=False) == real()
    for name in ("b", "c"):
        topology.claims.claim([ClaimSpec("route", name, "cell-1")], actor="t")
        assert reader.read(behind=False) == real()
        assert reader.read(behind=False) is None
        assert reader.read(behind=True) == real()
    assert len(reads) == 1
    topology.moves.move(Subject(text="s"), "cell-1", "cell-2", reason="r", actor="t")
    assert reader.read(behind=False) == real()
    topology.cells.set_health("cell-1", healthy=False, actor="t")
    assert reader.read(behind=False) == real()
    active = topology.rulesets.active()
    assert active is not None
    topology.rulesets.put(active.name, active.document.replace("all", "each"), actor="t")
    topology.rulesets.activate(active.name, active.version + 1, actor="t")
    assert reader.read(behind=False) == real()
    assert len(reads) == 4
    reader.close()


def test_what_another_connection_shows_is_read_in_whole(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be another history behind it: with the same numbers of other changes."""
    reader = _Reader(topology)
    reader.read(behind=False)
    assert reader._lookup is not None
    mark = reader._lookup.mark()
    monkeypatch.setattr(reader._lookup, "mark", lambda: mark._replace(connection=2))
    whole = topology.snapshot()
    monkeypatch.setattr(topology, "snapshot", lambda: whole)
    assert reader.read(behind=False) is whole
