"""A cell that was written as JSON is read as it was."""

from __future__ import annotations

import dataclasses
import json

from control_plane.topology.values import Cell, CellState, CellTLS, Endpoint, SequenceRange
from control_plane.topology.values.cell_document import cell_of

CELL = Cell(
    id=3,
    name="south",
    address="south.example:8443",
    endpoints=(Endpoint("10.0.0.1", 443), Endpoint("2001:db8::1", 443), Endpoint("h.example", 1)),
    tls=CellTLS("south.example", "/ca.pem"),
    health_check_path="/healthz",
    session_prefix="s",
    sequence_ranges=(SequenceRange(1, 10), SequenceRange(20, 30)),
    labels={"zone": "b"},
    state=CellState.CORDONED,
    weight=7,
    healthy=False,
    version=12,
)


def test_every_attribute_comes_back() -> None:
    for cell in (CELL, dataclasses.replace(CELL, tls=None, session_prefix=None, labels={})):
        assert cell_of(json.loads(json.dumps(cell.as_dict()))) == cell


def test_an_export_may_leave_out_what_has_a_default() -> None:
    cell = cell_of({"id": 1, "name": "c1", "address": "c1.example"})
    assert (cell.state, cell.weight, cell.healthy) == (CellState.PROVISIONING, 100, True)
