"""Transactions: tried again within bounds, consistent, and told to whoever listens."""

from __future__ import annotations

from itertools import count

import psycopg
import pytest
from sqlalchemy import text

from control_plane.topology import Topology
from control_plane.topology.storage.postgresql import CHANNEL, TRIES
from control_plane.topology.storage.transaction import Transaction
from control_plane.topology.values.cell import CellState
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.errors import Contention
from tests.topology.conftest import cell_spec

GENEROUS_S = 20.0


on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


@on_postgresql
@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_write_that_others_made_fail_is_tried_again(two: Topology, code: str) -> None:
    tries = count(1)

    def work(tx: Transaction) -> int:
        number = next(tries)
        tx.log("test", "try", str(number), None, None)
        if number < 3:
            tx.connection.execute(
                text(f"DO $$ BEGIN RAISE EXCEPTION 'in the way' USING ERRCODE = '{code}'; END $$")
            )
        return number

    number, tx = two._store.write("m", work)
    assert (number, tx.revision) == (3, 3)
    assert [change.key for change in two.changes.since(2)] == ["3"]


@on_postgresql
def test_tries_are_bounded(two: Topology) -> None:
    tries = count()

    def work(tx: Transaction) -> None:
        next(tries)
        tx.connection.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"))

    with pytest.raises(Contention):
        two._store.write("m", work)
    assert next(tries) == TRIES
    two.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="m")
    assert two.revision() == 3


@on_postgresql
def test_a_commit_elsewhere_is_notified_with_its_revision_only(two: Topology, url: str) -> None:
    other = Topology.open(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        written = other.claims.claim([ClaimSpec("route", "a", "cell-1")], actor="m")
        other.claims.claim([ClaimSpec("route", "b", "cell-1")], actor="m", dry_run=True)
        other.cells.set_state("cell-1", CellState.CORDONED, actor="m")
        got = [one.payload for one in connection.notifies(timeout=GENEROUS_S, stop_after=2)]
    connection.close()
    assert got == [str(written.revision), str(written.revision + 1)]
    other.close()


@on_postgresql
def test_a_reader_sees_one_moment(two: Topology) -> None:
    with two._store.read() as connection:
        first = connection.execute(text("SELECT revision FROM revisions")).scalar()
        two.cells.create(cell_spec(3), actor="m")
        assert connection.execute(text("SELECT revision FROM revisions")).scalar() == first
        assert connection.execute(text("SELECT count(*) FROM cells")).scalar() == 2
