"""``cellway rules test``: reads cases, decides them by the evaluator, and says what surprises."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from control_plane.cli.client import Exit, Failure
from control_plane.routing.explain import InvalidURL, explain
from control_plane.routing.model import Cells, ClaimKey
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.problems import RulesetError
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.topology.values.cell import Cell, CellState
from control_plane.topology.values.claim_key import normalise
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import Invalid

MAX_FILE_BYTES = 8 << 20
MAX_CASES = 10_000
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CellPart(_Part):
    """What routing sees of a cell; ids count from 1 in the order of the file."""

    id: int | None = Field(None, ge=1, lt=2**31)
    address: str | None = None
    session_prefix: str | None = None
    state: Annotated[CellState, Field(strict=False)] = CellState.ACTIVE
    weight: int = Field(100, ge=0, le=1000)
    healthy: bool = True


class RequestPart(_Part):
    """A request as the client sends it."""

    url: str
    method: str = "GET"
    headers: dict[str, str | list[str]] = Field(default_factory=dict)
    cookies: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        """``/path`` or ``POST /path`` stands for the whole."""
        if not isinstance(given, str):
            return given
        method, blank, url = given.partition(" ")
        if blank and method in _METHODS:
            return {"method": method, "url": url.strip()}
        return {"url": given}

    def fields(self) -> list[tuple[str, str]]:
        """All headers, the cookies' among them."""
        fields: list[tuple[str, str]] = []
        for name, values in self.headers.items():
            fields += [(name, value) for value in ([values] if isinstance(values, str) else values)]
        if self.cookies:
            text = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            fields.append(("cookie", text))
        return fields


class ExpectPart(_Part):
    """What must come of it; what is not given may be anything."""

    cell: str | None = None
    any_of: list[str] | None = Field(None, min_length=1, description="spread over these by weight")
    status: int | None = Field(None, ge=100, le=599)
    rule: str | None = None
    key: str | None = None

    @model_validator(mode="after")
    def _something(self) -> ExpectPart:
        if not self.model_fields_set:
            raise ValueError("expect says nothing; give cell, any_of, status, rule or key")
        if sum(one is not None for one in (self.cell, self.any_of, self.status)) > 1:
            raise ValueError("cell, any_of and status exclude each other")
        return self


class Case(_Part):
    """A request and what is expected of it."""

    name: str
    request: RequestPart
    expect: ExpectPart


class Cases(_Part):
    """A whole file."""

    ruleset: str | None = Field(None, description="its path, from the file's folder")
    cells: dict[str, CellPart] = Field(min_length=1)
    claims: dict[str, str] = Field(default_factory=dict, description="bucket:value to cell")
    cases: list[Case] = Field(min_length=1, max_length=MAX_CASES)


def read(path: Path) -> Cases:
    """Read a file of cases; raises `Failure` with every problem in it."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise Failure(f"{path} is larger than {MAX_FILE_BYTES} bytes", Exit.USAGE)
    try:
        text = path.read_text("utf-8")
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        cases = Cases.model_validate(document)
    except ValidationError as error:
        lines = [f"  {_where(one['loc'], document)}: {one['msg']}" for one in error.errors()]
        raise Failure("\n".join([f"{path} is no file of cases", *lines]), Exit.USAGE) from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise Failure(f"{path} can't be read: {error}", Exit.USAGE) from error
    names = [case.name for case in cases.cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Failure(f"{path}: cases with the same name: {', '.join(twice)}", Exit.USAGE)
    return cases


def _where(location: tuple[int | str, ...], document: Any) -> str:
    """A place in the file, with the case's name where it has one."""
    text = ".".join(str(part) for part in location) or "the file"
    match location:
        case ("cases", int(index), *_):
            one = document["cases"][index]
            name = one.get("name") if isinstance(one, dict) else None
            return f"{text} ({name!r})" if name else text
        case _:
            return text


def ruleset_of(cases: Cases, path: Path, given: Path | None) -> Ruleset:
    """The ruleset that the cases are about; raises `Failure` if there is none that works."""
    if given is None and cases.ruleset is None:
        raise Failure(f"{path} names no ruleset; give --rules", Exit.USAGE)
    file = given or path.parent / str(cases.ruleset)
    try:
        return parse(file.read_text("utf-8"))
    except RulesetError as error:
        lines = [f"  {problem}" for problem in error.problems]
        raise Failure("\n".join([f"{file} can't work", *lines])) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} can't be read: {error}", Exit.USAGE) from error


def run(cases: Cases, ruleset: Ruleset) -> list[dict[str, Any]]:
    """Decide every case; each result is plain JSON."""
    cells = _cells(cases)
    owners = _Owners(cases.claims, {cell.name: cell.id for cell in cells})
    index = Cells(cells)
    return [_run(case, ruleset, index, owners) for case in cases.cases]


def _cells(cases: Cases) -> tuple[Cell, ...]:
    made = tuple(_cell(number, *item) for number, item in enumerate(cases.cells.items(), 1))
    ids = [cell.id for cell in made]
    if len(set(ids)) != len(ids):
        raise Failure(f"cells share an id: {ids}; give each its own", Exit.USAGE)
    return made


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
    """Claims by their one spelling, as the topology keeps them."""

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
        try:
            return self._owners.get((bucket, normalise(bucket, value)))
        except Invalid:
            # What can't be claimed belongs to nobody, as in the topology.
            return None


def _run(case: Case, ruleset: Ruleset, cells: Cells, owners: _Owners) -> dict[str, Any]:
    request = case.request
    try:
        got = explain(
            ruleset,
            cells,
            owners,
            url=request.url,
            method=request.method,
            headers=request.fields(),
        )
    except InvalidURL as error:
        raise Failure(f"case {case.name!r}: {error}", Exit.USAGE) from error
    differences = list(_differences(case.expect, got))
    return {
        "name": case.name,
        "ok": not differences,
        "request": f"{request.method} {request.url}",
        "differences": differences,
        "outcome": got["outcome"],
        "rule": got["rule"],
        "key": got["key"],
        "reason": got["reason"],
        "trace": got["trace"] if differences else [],
    }


def _differences(expect: ExpectPart, got: dict[str, Any]) -> Iterator[dict[str, Any]]:
    outcome = got["outcome"]
    shown = {
        "cell": outcome.get("cell"),
        "any_of": sorted(outcome["weighted"]) if "weighted" in outcome else None,
        "status": outcome.get("status"),
        "rule": got["rule"],
        "key": got["key"],
    }
    wanted = expect.model_dump(include=expect.model_fields_set)
    for what, expected in wanted.items():
        value = sorted(expected) if what == "any_of" and expected else expected
        if value != shown[what]:
            actual = shown[what] if what in {"rule", "key"} else outcome
            yield {"what": what, "expected": value, "got": actual}


def as_text(result: dict[str, Any]) -> str:
    """A result in lines; of a surprise also the trace."""
    if result["ok"]:
        return f"ok    {result['name']}"
    lines = [f"FAIL  {result['name']}", f"      {result['request']}"]
    for one in result["differences"]:
        lines.append(f"    - {one['what']}: {_short(one['expected'])}")
        lines.append(f"    + {one['what']}: {_short(one['got'])}")
    lines.append(f"      because {result['reason']}")
    asked = [step for step in result["trace"] if step["result"] != "skipped"]
    lines += [f"        {step['rule']}: {step['result']}: {step['why']}" for step in asked]
    return "\n".join(lines)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
