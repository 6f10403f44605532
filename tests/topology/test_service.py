"""Each write of the topology: what it does, what it refuses, and what it leaves in the feed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from control_plane.topology import Subject, Topology
from control_plane.topology.storage.engines import migrate, pending_migrations
from control_plane.topology.storage.schema import metadata
from control_plane.topology.storage.store import Store
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import (
    AlreadyExists,
    Invalid,
    NotFound,
)
from tests.topology.conftest import cell_spec

ME = "tester"


def spec(number: int, **more: Any) -> CellSpec:
    return replace(cell_spec(number), **more)


def test_each_write_takes_the_next_revision_and_is_in_the_feed(two: Topology) -> None:
    written = two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    assert (written.revision, two.revision()) == (3, 3)
    feed = two.changes.since(0)
    assert [(c.revision, c.kind, c.action, c.key) for c in feed] == [
        (1, "cell", "create", "cell-1"),
        (2, "cell", "create", "cell-2"),
        (3, "claim", "create", "route:a"),
    ]
    assert {change.actor for change in feed} == {ME}


@pytest.mark.parametrize(
    "text",
    ["", "x", "x:", "x:0", "x:70000", ":80", "a b:80", "1.2.3:80", "[::1]", "::1:80", "x:8a"],
)
def test_a_malformed_endpoint_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Endpoint.parse(text)


@pytest.mark.parametrize("text", ["10.0.0.1:443", "[::1]:80", "cell-1.example.com:8443", "x:1"])
def test_an_endpoint_reads_back(text: str) -> None:
    assert str(Endpoint.parse(text)) == text


def test_a_dry_run_tells_and_keeps_nothing(two: Topology) -> None:
    told = two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME, dry_run=True)
    assert [change.key for change in told.changes] == ["route:a"]
    two.cells.create(spec(3), actor=ME, dry_run=True)
    two.cells.set_state("cell-1", CellState.CORDONED, actor=ME, dry_run=True)
    two.rulesets.put("r", "{}", actor=ME, dry_run=True)
    assert (two.revision(), two.claims.count(), len(two.cells.all())) == (2, {}, 2)
    assert two.changes.since(2) == []
    with pytest.raises(AlreadyExists):
        two.cells.create(spec(1), actor=ME, dry_run=True)


def test_only_cells_and_the_active_ruleset_touch_the_edge(two: Topology) -> None:
    assert two.snapshot().edge_revision == 2
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    two.rulesets.put("r", "{}", actor=ME)
    assert (two.snapshot().edge_revision, two.snapshot().revision) == (2, 4)
    two.rulesets.activate("r", 1, actor=ME)
    assert two.snapshot().edge_revision == 5


def test_hints_come_after_the_commit(two: Topology) -> None:
    seen: list[tuple[int, int]] = []
    stop = two.subscribe(lambda revision: seen.append((revision, two.revision())))
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=ME)
    two.claims.claim([ClaimSpec("route", "b", "cell-1")], actor=ME, dry_run=True)
    stop()
    two.claims.claim([ClaimSpec("route", "c", "cell-1")], actor=ME)
    assert seen == [(3, 3)]


@pytest.mark.parametrize("text", ["p\x00", "p\ud800"])
def test_text_that_no_database_keeps_is_refused(two: Topology, text: str) -> None:
    with pytest.raises(Invalid, match="a NUL or a lone surrogate"):
        two.claims.claim([ClaimSpec("route", "a", "cell-1", subject=text)], actor=ME)
    for name in (text, f"cell-1{text}"):
        with pytest.raises(NotFound):
            two.cells.get(name)
        with pytest.raises(NotFound):
            two.releases.release_all(name, reason="r", actor=ME)
    with pytest.raises(Invalid, match="a NUL or a lone surrogate"):
        two.moves.move(Subject(text=text), "cell-1", "cell-2", reason="r", actor=ME)
    with pytest.raises(Invalid, match="lone surrogate"):
        two.rulesets.put("r", f'{{"a": "{text}"}}', actor=ME)
    assert two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor=text).revision == 3


def test_the_migrations_make_the_schema_that_the_code_has(empty_url: str) -> None:
    store = Store(empty_url)
    assert pending_migrations(store.engine)[:3] == ("0001", "0002", "0003")
    migrate(store.engine)
    migrate(store.engine)
    assert pending_migrations(store.engine) == ()
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    store.close()
