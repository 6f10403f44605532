"""The topology is read again only where something other than claims has changed."""

from __future__ import annotations

import pytest

from control_plane.publisher.topology_reader import TopologyReader, newest_revision
from control_plane.topology import Subject, Topology
from control_plane.topology.values.change import TopologySnapshot
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import Unavailable
from control_plane.xds.server.revision_probe import RevisionUnknown


def test_claims_alone_do_not_have_everything_read_again(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    real = topology.snapshot

    def counting() -> TopologySnapshot:
        reads.append(topology.revision())
        return real()

    monkeypatch.setattr(topology, "snapshot", counting)
    reader = TopologyReader(topology)
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
    reader = TopologyReader(topology)
    reader.read(behind=False)
    assert reader._lookup is not None
    position = reader._lookup.feed_position()
    monkeypatch.setattr(reader._lookup, "feed_position", lambda: position._replace(connection=2))
    whole = topology.snapshot()
    monkeypatch.setattr(topology, "snapshot", lambda: whole)
    assert reader.read(behind=False) is whole
    reader.close()


def test_the_newest_revision_is_unknown_while_the_database_is_away(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = newest_revision(topology)
    assert newest() == topology.revision()

    def away() -> int:
        raise Unavailable("gone")

    monkeypatch.setattr(topology, "revision", away)
    with pytest.raises(RevisionUnknown, match="gone"):
        newest()
