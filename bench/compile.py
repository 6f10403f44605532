"""Measures what one changed cell costs: compiling, the snapshot, and finding what changed.

    python -m bench.compile [--cells N] [--changes N]

For `compile_incremental_ratio`, a cell's endpoints change. For `compile_routes_ratio`, a cell fails
its health checks: routes depend on that, so the route table of the fleet is compiled again.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from bench.results import Figure, report
from bench.topologies import document_of
from control_plane.compiler.model import TrafficPolicy
from control_plane.publisher.edge_snapshots import EdgeSnapshots
from control_plane.routing.rules.parse import parse
from control_plane.topology.values.cell import Cell, CellState
from control_plane.topology.values.change import TopologySnapshot
from control_plane.topology.values.endpoint import Endpoint
from control_plane.xds.snapshot import EMPTY

RULESET = "gitlab"


def cells_of(count: int) -> tuple[Cell, ...]:
    """Return cells with one endpoint and a session prefix each."""
    return tuple(
        Cell(
            number,
            f"cell-{number}",
            f"cell-{number}.example.com",
            (Endpoint("127.0.0.1", 20_000),),
            None,
            None,
            f"cell-{number}",
            (),
            {},
            CellState.ACTIVE,
            100,
            True,
            number,
        )
        for number in range(1, count + 1)
    )


def at_port(cell: Cell, number: int) -> Cell:
    """Return the cell with another endpoint, which changes nothing else."""
    return replace(cell, endpoints=(Endpoint("127.0.0.1", 30_000 + number),))


def failed(cell: Cell, _: int) -> Cell:
    """Return the cell with the opposite health, which changes routes."""
    return replace(cell, healthy=not cell.healthy)


def main(cells: int, changes: int) -> None:
    """Measure and report."""
    full = statistics.median(_full(cells) for _ in range(5))
    endpoints = _incremental(cells, changes, at_port)
    routes = _incremental(cells, changes, failed)
    base = "compile, snapshot and diff of everything"
    report(
        {
            "compile_full_ms": Figure(full * 1000, "ms", "lower", "", 5),
            "compile_incremental_ms": Figure(endpoints * 1000, "ms", "lower", "", changes),
            "compile_incremental_ratio": Figure(endpoints / full, "ratio", "lower", base, changes),
            "compile_routes_ratio": Figure(routes / full, "ratio", "lower", base, changes),
        }
    )


def _full(count: int) -> float:
    """Return the seconds that everything takes."""
    cells = cells_of(count)
    ruleset = parse(document_of(RULESET))
    started = time.perf_counter()
    snapshot = EdgeSnapshots(TrafficPolicy()).at(TopologySnapshot(1, 1, 1, cells, None), ruleset)
    snapshot.changed(EMPTY)
    return time.perf_counter() - started


def _incremental(count: int, changes: int, change: Callable[[Cell, int], Cell]) -> float:
    """Return the median of the seconds that one changed cell takes."""
    cells = cells_of(count)
    ruleset = parse(document_of(RULESET))
    snapshots = EdgeSnapshots(TrafficPolicy())
    last = snapshots.at(TopologySnapshot(1, 1, 1, cells, None), ruleset)
    taken: list[float] = []
    for number in range(1, changes + 1):
        at = (number * 37) % count
        cells = (*cells[:at], change(cells[at], number), *cells[at + 1 :])
        started = time.perf_counter()
        revision = number + 1
        state = TopologySnapshot(
            revision, revision, revision if change is failed else 1, cells, None
        )
        snapshot = snapshots.at(state, ruleset)
        assert snapshot.changed(last)
        taken.append(time.perf_counter() - started)
        last = snapshot
    return statistics.median(taken)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=200)
    options = parser.parse_args()
    main(options.cells, options.changes)
