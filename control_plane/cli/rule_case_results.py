"""Decides the cases of ``cellway rules test`` by the evaluator, and says what is not as expected.

A cell's state and the one spelling of a claim mean here what they mean in the topology: both are
values of `topology.values`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from control_plane.cli.client import Exit, Failure
from control_plane.cli.output import plain
from control_plane.cli.rule_cases import Case, Cases, CellPart, ExpectPart
from control_plane.routing.explain import InvalidURL, explain
from control_plane.routing.model import Cells, ClaimKey
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.topology.values import (
    Cell,
    Endpoint,
    Invalid,
    normalise,
    normalised_or_none,
)


def run(cases: Cases, ruleset: Ruleset) -> list[dict[str, Any]]:
    """Decide every case; the results are plain JSON, see `_result`."""
    cells = _cells(cases)
    owners = _Owners(cases.claims, {cell.name: cell.id for cell in cells})
    index = Cells(cells)
    return [_result(case, ruleset, index, owners) for case in cases.cases]


def _cells(cases: Cases) -> tuple[Cell, ...]:
    cells = tuple(_cell(number, *item) for number, item in enumerate(cases.cells.items(), 1))
    ids = [cell.id for cell in cells]
    if len(set(ids)) != len(ids):
        raise Failure(f"cells share an id: {ids}; give each its own", Exit.USAGE)
    return cells


def _cell(number: int, name: str, part: CellPart) -> Cell:
    return Cell(
        id=part.id or number,
        name=name,
        address=part.address or f"{name}.example",
        endpoints=(Endpoint("127.0.0.1", 1),),
        tls=None,
        health_check_path=None,
        session_prefix=part.session_prefix,
        sequence_ranges=(),
        labels={},
        state=part.state,
        weight=part.weight,
        healthy=part.healthy,
        version=1,
    )


class _Owners:
    """Tells who owns a claim: `routing`'s ``Owners``, from the claims of a file."""

    def __init__(self, claims: dict[str, str], ids: dict[str, int]) -> None:
        self._owners: dict[ClaimKey, int] = {}
        for text, cell in claims.items():
            bucket, _, value = text.partition(":")
            if cell not in ids:
                raise Failure(f"claims: {text} belongs to {cell!r}, which is no cell", Exit.USAGE)
            try:
                self._owners[bucket, normalise(bucket, value)] = ids[cell]
            except Invalid as error:
                raise Failure(f"claims: {text!r}: {error}", Exit.USAGE) from error

    def __call__(self, keys: Sequence[ClaimKey]) -> list[int | None]:
        return [self._owner(*key) for key in keys]

    def _owner(self, bucket: str, value: str) -> int | None:
        # What can't be claimed belongs to nobody, as in the topology.
        normalised = normalised_or_none(bucket, value)
        return None if normalised is None else self._owners.get((bucket, normalised))


def _result(case: Case, ruleset: Ruleset, cells: Cells, owners: _Owners) -> dict[str, Any]:
    """Decide a case, and compare the decision with what is expected.

    Returns:
        ``name``, ``ok``, ``request``, ``differences`` (a list of ``{"what", "expected", "got"}``),
        ``outcome``, ``rule``, ``key`` and ``reason`` of the decision, and its ``trace``, which is
        empty if the case is as expected.
    """
    request = case.request
    try:
        decision = explain(
            ruleset,
            cells,
            owners,
            url=request.url,
            method=request.method,
            headers=request.fields(),
        )
    except InvalidURL as error:
        raise Failure(f"case {case.name!r}: {error}", Exit.USAGE) from error
    differences = list(_differences(case.expect, decision))
    return {
        "name": case.name,
        "ok": not differences,
        "request": f"{request.method} {request.url}",
        "differences": differences,
        "outcome": decision["outcome"],
        "rule": decision["rule"],
        "key": decision["key"],
        "reason": decision["reason"],
        "trace": decision["trace"] if differences else [],
    }


def _differences(expect: ExpectPart, decision: dict[str, Any]) -> Iterator[dict[str, Any]]:
    outcome = decision["outcome"]
    actual = {
        "cell": outcome.get("cell"),
        "any_of": sorted(outcome["weighted"]) if "weighted" in outcome else None,
        "status": outcome.get("status"),
        "rule": decision["rule"],
        "key": decision["key"],
    }
    for what, expected in expect.model_dump(include=expect.model_fields_set).items():
        value = sorted(expected) if what == "any_of" and expected else expected
        if value != actual[what]:
            got = actual[what] if what in {"rule", "key"} else outcome
            yield {"what": what, "expected": value, "got": got}


def as_text(result: dict[str, Any]) -> str:
    """Return a result in lines; if it is not as expected, with the rules that were tried."""
    if result["ok"]:
        return f"ok    {result['name']}"
    lines = [f"FAIL  {result['name']}", f"      {result['request']}"]
    for one in result["differences"]:
        lines.append(f"    - {one['what']}: {plain(one['expected'])}")
        lines.append(f"    + {one['what']}: {plain(one['got'])}")
    lines.append(f"      because {result['reason']}")
    tried = [step for step in result["trace"] if step["result"] != "skipped"]
    lines += [f"        {step['rule']}: {step['result']}: {step['why']}" for step in tried]
    return "\n".join(lines)
