"""Steps of the claims protocol that the tests of claims take again and again."""

from __future__ import annotations

from typing import Any

from control_plane.topology import Topology
from control_plane.topology.values import RecordSpec

TESTER = "tester"


def route(name: str, **more: Any) -> RecordSpec:
    """Return a route to create or to destroy."""
    return RecordSpec("route", name, **more)


def project(number: int, *names: str) -> list[RecordSpec]:
    """Return routes of a project."""
    return [RecordSpec("route", name, 3, number) for name in names]


def begin(
    topology: Topology,
    creates: list[RecordSpec],
    destroys: list[RecordSpec] | None = None,
    cell: int = 1,
    key: str | None = None,
) -> str:
    """Begin an update; return its lease."""
    done = topology.leases.begin(cell, creates, destroys or [], actor=TESTER, idempotency_key=key)
    return done.value.uuid


def own(topology: Topology, *names: str, cell: int = 1) -> None:
    """Have a cell own routes."""
    lease = begin(topology, [route(name) for name in names], cell=cell)
    topology.leases.commit(cell, lease, actor=TESTER)


def own_records(topology: Topology, cell: int, *specs: RecordSpec) -> str:
    """Have a cell claim, in its own name; return the lease."""
    lease = topology.leases.begin(cell, specs, [], actor=f"cell-{cell}").value.uuid
    topology.leases.commit(cell, lease, actor=f"cell-{cell}")
    return lease


def owners(topology: Topology, *names: str) -> list[int | None]:
    """Return the ids of the cells that own routes."""
    return topology.claims.owners_of([("route", name) for name in names])


def feed(topology: Topology, since: int) -> list[tuple[int, str, str, str]]:
    """Return what the change feed says after a revision: revision, kind, action, key."""
    changes = topology.changes.since(since)
    return [(c.revision, c.kind, c.action, c.key) for c in changes]
