"""What the publisher makes of a commit: with the edge cache on, a move changes the epochs alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from control_plane.compiler.model import TrafficPolicy
from control_plane.names import CDS, ECDS, EPOCHS_FILTER, RDS
from control_plane.publisher.publisher import Publisher
from control_plane.publisher.topology_reader import TopologyReader
from control_plane.topology import Subject, Topology
from control_plane.topology.maintenance.backup import advance
from control_plane.topology.storage import schema
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import Unavailable
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.snapshot_cache import SnapshotCache
from tests.support.plane import RULESET, UNNAMED_HEADERS_RULESET

GENERIC = (Path(__file__).parents[2] / "rulesets" / "generic.json").read_text()


def publishing(topology: Topology, cache: SnapshotCache, **policy: Any) -> Publisher:
    return Publisher(
        topology,
        cache,
        TrafficPolicy(**policy),
        poll_interval_s=1,
        on_published=lambda _, __: None,
    )


def why(publisher: Publisher) -> str | None:
    return publisher.alarm


def changed(new: Snapshot, old: Snapshot) -> dict[str, frozenset[str]]:
    return {kind: names for kind, names in new.changed(old).items() if names}


def test_only_a_change_of_owner_changes_something_and_that_is_the_epochs(
    topology: Topology,
) -> None:
    cache = SnapshotCache()
    publisher = publishing(topology, cache)
    publisher.publish()
    first = cache.newest
    assert EPOCHS_FILTER in first.of_type(ECDS)
    topology.claims.claim([ClaimSpec("route", "b", "cell-1")], actor="t")
    publisher.publish()
    second = cache.newest
    assert second.revision > first.revision
    assert changed(second, first) == {}
    topology.moves.move(Subject(text="s"), "cell-1", "cell-2", reason="r", actor="t")
    publisher.publish()
    third = cache.newest
    assert changed(third, second) == {ECDS: frozenset({EPOCHS_FILTER})}
    assert f":{third.revision}".encode() in third.of_type(ECDS)[EPOCHS_FILTER].body
    fresh = SnapshotCache()
    publishing(topology, fresh).publish()
    assert changed(fresh.newest, third) == {}, "a restarted publisher makes the same"


def test_new_endpoints_void_no_answers_and_a_drain_voids_all(topology: Topology) -> None:
    cache = SnapshotCache()
    publisher = publishing(topology, cache)
    publisher.publish()
    first = cache.newest
    spec = topology.cells.get("cell-1").spec()
    topology.cells.replace(
        "cell-1", replace(spec, endpoints=(Endpoint("127.0.0.1", 9),)), actor="t"
    )
    publisher.publish()
    second = cache.newest
    assert changed(second, first) == {CDS: frozenset({"cell:cell-1"})}
    fresh = SnapshotCache()
    publishing(topology, fresh).publish()
    assert changed(fresh.newest, second) == {}, "a restarted publisher makes the same"
    topology.cells.set_state("cell-1", CellState.DRAINING, actor="t")
    publisher.publish()
    third = cache.newest
    assert changed(third, second)[ECDS] == {EPOCHS_FILTER}
    assert f"{third.revision};".encode() in third.of_type(ECDS)[EPOCHS_FILTER].body


@pytest.mark.parametrize("policy", [{"edge_cache_entries": 0}, {"classifier_protocol": "grpc"}])
def test_without_the_edge_cache_there_are_no_epochs(
    topology: Topology, policy: dict[str, Any]
) -> None:
    cache = SnapshotCache()
    publisher = publishing(topology, cache, **policy)
    publisher.publish()
    first = cache.newest
    assert EPOCHS_FILTER not in first.of_type(ECDS)
    topology.moves.move(Subject(text="s"), "cell-1", "cell-2", reason="r", actor="t")
    publisher.publish()
    assert changed(cache.newest, first) == {}


@pytest.mark.parametrize("policy", [{}, {"edge_cache_entries": 0}, {"classifier_protocol": "grpc"}])
def test_a_change_of_rules_changes_the_routes_and_the_epochs_and_drains_nothing(
    topology: Topology, policy: dict[str, Any]
) -> None:
    """The names of filter configurations stay, too: the listener says which an Envoy asks for."""
    cache = SnapshotCache()
    publisher = publishing(topology, cache, **policy)
    publisher.publish()
    for version, document in enumerate((UNNAMED_HEADERS_RULESET, GENERIC, RULESET), 2):
        before = cache.newest
        topology.rulesets.put("r", document, actor="t")
        topology.rulesets.activate("r", version, actor="t")
        publisher.publish()
        after = cache.newest
        assert set(after.of_type(ECDS)) == set(before.of_type(ECDS))
        assert set(changed(after, before)) <= {RDS, ECDS}


async def test_a_notification_of_what_is_published_wakes_nobody(topology: Topology) -> None:
    publisher = publishing(topology, SnapshotCache())
    publisher.publish()
    publisher._hear(topology.revision(), 0.0)
    assert not publisher._wake.is_set()
    publisher._hear(topology.revision() + 1, 0.0)
    assert publisher._wake.is_set()


async def test_a_notification_without_a_revision_always_wakes(topology: Topology) -> None:
    publisher = publishing(topology, SnapshotCache())
    publisher.publish()
    publisher._hear(0, 0.0)
    assert publisher._wake.is_set()


async def test_a_failed_read_is_an_alarm_until_the_next_read_and_loses_no_commit(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SnapshotCache()
    publisher = publishing(topology, cache)
    reader = TopologyReader(topology)
    await publisher._follow(reader)
    read = TopologyReader.read

    def fails_after_it_was_told(self: TopologyReader, *, behind: bool) -> None:
        read(self, behind=behind)
        raise Unavailable("gone")

    topology.claims.claim([ClaimSpec("route", "b", "cell-1")], actor="t")
    with monkeypatch.context() as patch:
        patch.setattr(TopologyReader, "read", fails_after_it_was_told)
        await publisher._follow(reader)
    assert "gone" in (why(publisher) or "")
    await publisher._follow(reader)
    assert why(publisher) is None
    assert cache.newest.revision == topology.revision()
    reader.close()


async def test_a_database_that_goes_back_in_time_is_told_of_until_it_is_newer(
    topology: Topology,
) -> None:
    publisher = publishing(topology, SnapshotCache())
    reader = TopologyReader(topology)
    await publisher._follow(reader)
    newest = topology.revision()
    turn_back = update(schema.revisions).values(revision=newest - 1)
    with topology._store._write_engine.begin() as connection:
        connection.execute(turn_back)
    for _ in range(2):
        await publisher._follow(reader)
        text = f"revision {newest - 1} is older than {newest}, which is published"
        assert (why(publisher) or "").startswith(text)
    advance(topology._store, newest)
    await publisher._follow(reader)
    assert why(publisher) is None
    reader.close()
