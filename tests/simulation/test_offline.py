"""Cells and claims from files mean what they mean in the topology."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control_plane.simulation.offline import BadTopology, ClaimsOfFile, cells_of

C1: dict[str, Any] = {"name": "c1", "address": "c1.example", "id": 7, "state": "active"}
C2: dict[str, Any] = {"name": "c2", "address": "c2.example", "state": "drained"}


def lines(*claims: tuple[str, str, str]) -> list[bytes]:
    keys = ("bucket", "value", "cell")
    return [json.dumps(dict(zip(keys, one, strict=True))).encode() + b"\n" for one in claims]


def test_cells_are_read_and_the_next_free_ids_given() -> None:
    cells = cells_of([C1, C2])
    assert {cell.name: cell.id for cell in cells.all} == {"c1": 7, "c2": 8}
    assert list(cells.serving) == [7]


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ([{"name": "c1"}], "cell 'c1': it has no 'address'"),
        ([C1 | {"state": "gone"}], "'gone' is not a valid CellState"),
        ([C1, C2 | {"id": 7}], "cells with the same id: 7"),
        ([C1, C1 | {"id": 8}], "cells with the same name: c1"),
        ([C1 | {"tls": 5}], "cell 'c1'"),
        ([C1 | {"endpoints": ["x"]}], "cell 'c1'"),
    ],
)
def test_what_is_no_cell_is_told(documents: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(BadTopology, match=why):
        cells_of(documents)


def test_claims_are_found_in_every_spelling() -> None:
    text = [*lines(("route", "/Acme/", "c1"), ("tenant", "T", "c2")), b"\n"]
    claims = ClaimsOfFile(text, cells_of([C1, C2]))
    keys = [("route", "ACME"), ("tenant", "t "), ("route", "t"), ("user_id", "no number")]
    assert claims(keys) == [7, 8, None, None]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ([b"nonsense"], "line 1"),
        ([b"[]"], "line 1"),
        ([b'{"bucket": "route"}'], "line 1: no 'cell'"),
        (lines(("route", "a", "c9")), "line 1: 'c9' is no cell of the topology"),
        (lines(("user_id", "x", "c1")), "line 1: .*positive"),
        (lines(("route", "a", "c1"), ("route", "A", "c2")), "line 2: route:a belongs to another"),
        ([b"{" + b" " * 70_000], "more than 65536 bytes"),
    ],
)
def test_what_is_no_claim_is_told_with_its_line(text: list[bytes], why: str) -> None:
    with pytest.raises(BadTopology, match=why):
        ClaimsOfFile(text, cells_of([C1, C2]))
