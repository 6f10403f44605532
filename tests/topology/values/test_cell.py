"""What may be declared of a cell, and when it serves."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from control_plane.topology.values import (
    MAX_CELL_ID,
    TRANSITIONS,
    Cell,
    CellSpec,
    CellState,
    CellTLS,
    Endpoint,
    Invalid,
    SequenceRange,
)

SPEC = CellSpec("cell-1", "cell-1.example", (Endpoint("10.0.0.1", 443),))
CELL = Cell(
    id=1,
    name="cell-1",
    address="cell-1.example:8443",
    endpoints=SPEC.endpoints,
    tls=None,
    health_check_path=None,
    session_prefix=None,
    sequence_ranges=(SequenceRange(1, 10),),
    labels={"zone": "a"},
    state=CellState.ACTIVE,
    weight=100,
    healthy=True,
    version=7,
)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "Cell"}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"id": 0}, "id"),
        ({"id": MAX_CELL_ID + 1}, "id"),
        ({"address": "cell-1.example:0"}, "address"),
        ({"tls": CellTLS(server_name="a_b..c")}, "tls.server_name"),
        ({"tls": CellTLS(server_name=".x")}, "tls.server_name"),
        ({"tls": CellTLS(server_name="a" * 64)}, "tls.server_name"),
        ({"tls": CellTLS(server_name="a.x\0")}, "tls.server_name"),
        ({"tls": CellTLS(ca_file="")}, "tls.ca_file"),
        ({"tls": CellTLS(ca_file="/a\0b")}, "tls.ca_file"),
        ({"tls": CellTLS(ca_file="/\ud800")}, "tls.ca_file"),
        ({"tls": CellTLS(ca_file="/" + "\u00e4" * 2048)}, "tls.ca_file"),
        ({"endpoints": (Endpoint("a" * 100, 80),)}, "endpoints"),
        ({"endpoints": (Endpoint("a..b", 80),)}, "endpoints"),
        ({"endpoints": (Endpoint("10.0.0.1", 0),)}, "endpoints"),
        ({"endpoints": (Endpoint("10.0.0.1", 65536),)}, "endpoints"),
        ({"endpoints": ()}, "endpoints"),
        ({"endpoints": (Endpoint("10.0.0.1", 1), Endpoint("a.example", 1))}, "endpoints"),
        ({"session_prefix": "a b"}, "session_prefix"),
        ({"health_check_path": "healthz"}, "health_check_path"),
        ({"weight": 1001}, "weight"),
        ({"labels": {"a b": "c"}}, "labels"),
        ({"labels": {"a": "c" * 257}}, "labels"),
        ({"labels": {str(n): "" for n in range(65)}}, "labels"),
        ({"sequence_ranges": (SequenceRange(0, 5),)}, "sequence_ranges"),
        ({"sequence_ranges": (SequenceRange(6, 5),)}, "sequence_ranges"),
        ({"sequence_ranges": (SequenceRange(1, 2**63),)}, "sequence_ranges"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        replace(SPEC, **wrong).check()
    (problem,) = caught.value.problems
    assert problem.field == field
    assert problem.hint


def test_all_that_is_wrong_is_told_at_once() -> None:
    spec = replace(SPEC, name="", id=-1, weight=-1, endpoints=(), labels={" ": ""})
    with pytest.raises(Invalid) as caught:
        spec.check()
    names = [problem.field for problem in caught.value.problems]
    assert names == ["name", "id", "endpoints", "weight", "labels"]


def test_what_is_right_passes() -> None:
    SPEC.check()
    CELL.spec().check()


def test_the_part_that_an_operator_declares_is_the_cell_s_own() -> None:
    spec = CELL.spec()
    assert all(getattr(spec, one.name) == getattr(CELL, one.name) for one in fields(CellSpec))


@pytest.mark.parametrize("state", CellState)
def test_a_cell_serves_while_it_is_healthy_and_not_drained(state: CellState) -> None:
    cell = replace(CELL, state=state)
    assert cell.serving == (state not in {CellState.DRAINED, CellState.RETIRED})
    assert cell.accepts_new == (state in {CellState.CANARY, CellState.ACTIVE})
    assert not replace(cell, healthy=False).serving
    assert not replace(cell, weight=0).accepts_new


def test_each_state_but_the_last_can_be_left() -> None:
    assert TRANSITIONS.keys() == set(CellState)
    assert [state for state, following in TRANSITIONS.items() if not following] == [
        CellState.RETIRED
    ]


def test_the_certificate_s_name_is_the_declared_one_or_the_address() -> None:
    assert CELL.server_name.text == "cell-1.example"
    declared = replace(CELL, tls=CellTLS(server_name="Other.Example."))
    assert declared.server_name.text == "other.example"
    assert CellTLS(ca_file="/ca.pem").trust_file == "/ca.pem"
    assert CellTLS().trust_file.endswith("ca-certificates.crt")
