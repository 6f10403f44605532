"""A line of an import: what it may hold, what it is without, and how a claim is written as one."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from control_plane.topology.claims.bulk_lines import (
    last_key,
    parse_line,
    parse_lines,
    write_line,
)
from control_plane.topology.values.errors import Invalid

PLAIN = {"bucket": "route", "value": "acme", "cell": "cell-1"}
COLUMNS = (
    *("spelling", "subject", "source", "subject_type", "subject_id", "source_type"),
    *("source_id", "user_data"),
)


def text(**fields: Any) -> str:
    return json.dumps(PLAIN | fields) + "\n"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"value": "Acme"},
        {"subject": "org-1", "source": "table"},
        {
            "subject_type": 2,
            "subject_id": 7,
            "source_type": 3,
            "source_id": "AAE=",
            "user_data": "eA==",
        },
    ],
)
def test_a_line_is_written_as_it_was_read(fields: dict[str, Any]) -> None:
    line = parse_line(1, text(**fields))
    assert line.key == ("route", "acme")
    row = dict(zip(COLUMNS, line.values, strict=True))
    bucket, value = line.key
    claim: Any = SimpleNamespace(bucket=bucket, value=value, cell=line.cell, **row)
    assert json.loads(write_line(claim)) == PLAIN | fields
    assert last_key(write_line(claim)) == line.key


def test_numbers_must_fit_the_claim() -> None:
    with pytest.raises(Invalid, match="its own subject is 5"):
        parse_line(1, text(bucket="project_id", value="5", subject_type=3, subject_id=6))


def test_malformed_lines_are_told_from_the_others_and_empty_ones_are_passed_over() -> None:
    rejects: list[Any] = []
    lines = parse_lines([(7, text()), (8, "\n"), (9, "{\n"), (10, text(value="b"))], rejects)
    assert [line.number for line in lines] == [7, 10]
    assert [(one.line, one.text) for one in rejects] == [(9, "{")]
    assert rejects[0].as_dict().keys() == {"line", "reason", "text"}
