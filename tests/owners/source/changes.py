"""A topology on SQLite, and changes of it at random."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

from control_plane.topology import Subject, Topology
from control_plane.topology.values.claim import ClaimSpec, RecordSpec
from control_plane.topology.values.errors import TopologyError
from tests.topology.conftest import cell_spec
from tests.topology.machine.writes import template

ME = "tester"
NAMES = [f"n{number}" for number in range(14)]


def new_topology(directory: Path) -> Topology:
    """Open a new database with two cells."""
    (directory / "t.db").write_bytes(template())
    made = Topology.open(f"sqlite:///{directory}/t.db")
    for number in (1, 2):
        made.cells.create(cell_spec(number), actor=ME)
    return made


def change(topology: Topology, dice: random.Random) -> None:
    """Make a change at random; many are refused, which changes nothing."""
    cell = dice.choice((1, 2))
    name, other = dice.sample(NAMES, 2)
    records = [RecordSpec("route", one, 3, 5) for one in (name, other)]
    leases = topology.open_leases.page()
    kind = dice.randrange(8)
    with contextlib.suppress(TopologyError):
        if kind < 3:
            specs = [ClaimSpec("route", one, f"cell-{cell}", f"s{cell}") for one in (name, other)]
            topology.claims.claim(specs[: dice.choice((1, 2))], actor=ME)
        elif kind == 3:
            topology.claims.release([("route", name)], actor=ME)
        elif kind == 4:
            cells = ("cell-1", "cell-2")
            source, target = dice.sample(cells, 2)
            topology.moves.move(Subject(text=f"s{cell}"), source, target, reason="t", actor=ME)
        elif kind == 5:
            topology.leases.begin(cell, records[:1], dice.choice(([], records)), actor=ME)
        elif kind == 6 and leases:
            one = dice.choice(leases)
            settle = dice.choice((topology.leases.commit, topology.leases.roll_back))
            settle(one.cell_id, one.uuid, actor=ME)
        else:
            topology.edge_secrets.rotate(actor=ME, force=True)
