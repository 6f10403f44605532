"""The file of ``cellway rules test``: cells, claims, and cases with what is expected of them.

For example::

    ruleset: gitlab.json
    cells: {c1: {session_prefix: c1}, c2: {state: draining}}
    claims: {"route:gitlab-org": c1}
    cases:
      - {name: a group, request: /gitlab-org, expect: {cell: c1, rule: route}}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from control_plane.cli.client import Exit, Failure
from control_plane.cli.ruleset_file import named_ruleset
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.problems import RulesetError
from control_plane.routing.rules.ruleset import Ruleset
from control_plane.topology.values import CellState

MAX_FILE_BYTES = 8 << 20
MAX_CASES = 10_000
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CellPart(_Part):
    """What routing sees of a cell; an id that is not given is its place in the file, from 1."""

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
    def _from_text(cls, document: Any) -> Any:
        """Read ``/path`` or ``POST /path``, which stands for the whole."""
        if not isinstance(document, str):
            return document
        method, blank, url = document.partition(" ")
        if blank and method in _METHODS:
            return {"method": method, "url": url.strip()}
        return {"url": document}

    def fields(self) -> list[tuple[str, str]]:
        """Return all headers, that of the cookies among them."""
        fields: list[tuple[str, str]] = []
        for name, values in self.headers.items():
            fields += [(name, value) for value in ([values] if isinstance(values, str) else values)]
        if self.cookies:
            text = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            fields.append(("cookie", text))
        return fields


class ExpectPart(_Part):
    """What is expected of a request; what is not given may be anything."""

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
    """A file of cases."""

    ruleset: str | None = Field(None, description="its path, from the file's folder, or a name")
    cells: dict[str, CellPart] = Field(min_length=1)
    claims: dict[str, str] = Field(default_factory=dict, description="bucket:value to cell")
    cases: list[Case] = Field(min_length=1, max_length=MAX_CASES)


def read(path: Path) -> Cases:
    """Read a file of cases.

    Raises:
        Failure: it can't be read, or is no file of cases; the message names every problem.
    """
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
    """Return a place in the file, such as ``cases.0.expect.sell ('one')``."""
    text = ".".join(str(part) for part in location) or "the file"
    match location:
        case ("cases", int(index), *_):
            case = document["cases"][index]
            name = case.get("name") if isinstance(case, dict) else None
            return f"{text} ({name!r})" if name else text
        case _:
            return text


def ruleset_of(cases: Cases, path: Path, rules: Path | None) -> Ruleset:
    """Return the ruleset that the cases are about.

    Args:
        path: the file of cases, which its ``ruleset`` is relative to.
        rules: a ruleset to use instead.

    Raises:
        Failure: there is none, or it can't work.
    """
    if rules is None and cases.ruleset is None:
        raise Failure(f"{path} names no ruleset; give --rules", Exit.USAGE)
    file = rules or named_ruleset(str(cases.ruleset), path.parent)
    try:
        return parse(file.read_text("utf-8"))
    except RulesetError as error:
        lines = [f"  {problem}" for problem in error.problems]
        raise Failure("\n".join([f"{file} can't work", *lines])) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} can't be read: {error}", Exit.USAGE) from error
