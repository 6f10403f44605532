"""Topologies to measure with: any number of cells, tenants spread over them, a ruleset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from control_plane.topology import Topology
from control_plane.topology.values.cell import CellSpec, CellState
from control_plane.topology.values.claim import ClaimSpec
from control_plane.topology.values.endpoint import Endpoint

ACTOR = "bench"
_RULESETS = (Path(__file__).parent.parent / "rulesets", Path(__file__).parent / "rulesets")
"""Where the shipped rulesets are, and those that only benchmarks have."""
DURABLE = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
"""PostgreSQL's settings; it syncs each commit to disk, as it does by default."""
NOWHERE = 443
"""The port of cells to which no request goes."""
_BATCH = 1000
"""Claims in one write."""


def cell_spec(number: int, port: int = NOWHERE) -> CellSpec:
    """Return an active cell ``cell-<number>`` with one endpoint on this machine."""
    name = f"cell-{number}"
    endpoint = Endpoint("127.0.0.1", port)
    return CellSpec(
        name, f"{name}.example.com", (endpoint,), session_prefix=name, state=CellState.ACTIVE
    )


def add_cells(topology: Topology, ports: Iterable[int]) -> None:
    """Create the cells 1, 2, …: one for each port."""
    for number, port in enumerate(ports, 1):
        topology.cells.create(cell_spec(number, port), actor=ACTOR)


def add_tenants(topology: Topology, bucket: str, names: list[str], cells: int) -> None:
    """Claim names for the cells 1 to ``cells``, in turn."""
    claims = [
        ClaimSpec(bucket, name, f"cell-{number % cells + 1}") for number, name in enumerate(names)
    ]
    for start in range(0, len(claims), _BATCH):
        topology.claims.claim(claims[start : start + _BATCH], actor=ACTOR)


def document_of(ruleset: str) -> str:
    """Return a ruleset's document by its name."""
    files = (directory / f"{ruleset}.json" for directory in _RULESETS)
    return next(file for file in files if file.exists()).read_text()


def activate(topology: Topology, ruleset: str) -> None:
    """Put one of the rulesets by its name, and activate it."""
    document = document_of(ruleset)
    version = topology.rulesets.put(ruleset, document, actor=ACTOR).value.version
    topology.rulesets.activate(ruleset, version, actor=ACTOR)


@contextmanager
def opened(url: str) -> Iterator[Topology]:
    """Open a topology for the block."""
    topology = Topology.open(url)
    try:
        yield topology
    finally:
        topology.close()
