"""Random sequences of changes as values: what an operator does, and the state that is wanted then.

Nothing here touches a system. `Wanted` is the model of the wanted state; an operation, called with
one, returns the next. Hypothesis shrinks a list of operations to a short one. An operation that
does not apply returns the state that it got.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from tests.e2e.change_rules import FORMS, MAY_BE_REFUSED, Form, ruleset

CELLS = tuple(f"cell-{number}" for number in range(1, 7))
AT_FIRST = 4
"""Cells that serve at first; the others are retired until they are added."""
FEWEST = 3
"""Cells that stay, so that no guard against shrinking holds a change back."""
BACKENDS = tuple(f"at-{number}" for number in range(1, 7))
TENANTS = ("alpha", "beta", "gamma", "delta")
HOSTS: Mapping[str, str] = {
    "ipv4": "127.0.0.1",
    "other ipv4": "127.0.0.2",
    "ipv6": "::1",
    "dns": "localhost",
}
CA_FILES = ("ca-1.pem", "ca-2.pem")
CA_STATES = ("good", "missing", "no PEM", "empty")
LONG_NAME = "x" * 300
"""A server name that Envoy refuses: SNI has 255 bytes at most."""


@dataclass(frozen=True, slots=True)
class CellDraft:
    """The wanted state of one cell."""

    backends: tuple[str, ...]
    host: str = "ipv4"
    tls: str = ""
    """A CA file, or "long name"; empty: plain text."""
    health_check_path: str | None = None
    state: str = "active"
    weight: int = 100

    @property
    def served(self) -> bool:
        """Whether the edge knows the cell."""
        return self.state != "retired"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The wanted state of everything, and the state of the CA files."""

    cells: Mapping[str, CellDraft]
    rules: tuple[tuple[str, Form], ...]
    claims: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(CA_FILES, "good"))

    @property
    def odd_rules(self) -> bool:
        """Whether Envoy may refuse the rules."""
        return any(form.looks_at == MAY_BE_REFUSED for _, form in self.rules)

    def refused(self) -> frozenset[str]:
        """The cells of which Envoy refuses the cluster if it is sent now."""
        return frozenset(
            name
            for name, cell in self.cells.items()
            if cell.served
            and (cell.tls == "long name" or self.files.get(cell.tls, "good") != "good")
        )


def at_first() -> Wanted:
    """Return the state in which every sequence begins."""
    cells = {
        name: CellDraft((BACKENDS[index],), state="active" if index < AT_FIRST else "retired")
        for index, name in enumerate(CELLS)
    }
    rules = (("a", Form("path 1")), ("b", Form("home cookie")))
    return Wanted(cells, rules, dict(zip(TENANTS, CELLS, strict=False)))


@dataclass(frozen=True, slots=True)
class Place:
    """A cell's endpoints."""

    cell: str
    host: str
    backends: tuple[str, ...]

    def __call__(self, wanted: Wanted) -> Wanted:
        return _with_cell(wanted, self.cell, host=self.host, backends=self.backends)


@dataclass(frozen=True, slots=True)
class Swap:
    """Two cells change endpoints."""

    cell: str
    other: str

    def __call__(self, wanted: Wanted) -> Wanted:
        one, two = wanted.cells[self.cell], wanted.cells[self.other]
        wanted = _with_cell(wanted, self.cell, host=two.host, backends=two.backends)
        return _with_cell(wanted, self.other, host=one.host, backends=one.backends)


@dataclass(frozen=True, slots=True)
class State:
    """A cell is added, removed or changes its state."""

    cell: str
    state: str

    def __call__(self, wanted: Wanted) -> Wanted:
        left = sum(cell.served for name, cell in wanted.cells.items() if name != self.cell)
        if self.state == "retired" and left < FEWEST:
            return wanted
        return _with_cell(wanted, self.cell, state=self.state)


@dataclass(frozen=True, slots=True)
class Tls:
    """How a cell's certificate is checked; empty: it has none."""

    cell: str
    tls: str

    def __call__(self, wanted: Wanted) -> Wanted:
        return _with_cell(wanted, self.cell, tls=self.tls)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Whether a cell's endpoints are probed."""

    cell: str
    path: str | None

    def __call__(self, wanted: Wanted) -> Wanted:
        return _with_cell(wanted, self.cell, health_check_path=self.path)


@dataclass(frozen=True, slots=True)
class Weight:
    """A cell's share of new traffic."""

    cell: str
    weight: int

    def __call__(self, wanted: Wanted) -> Wanted:
        return _with_cell(wanted, self.cell, weight=self.weight)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules before the last one, by id and in their order."""

    rules: tuple[tuple[str, Form], ...]

    def __call__(self, wanted: Wanted) -> Wanted:
        return replace(wanted, rules=self.rules)


Edit = Place | Swap | State | Tls | HealthCheck | Weight | Rules


@dataclass(frozen=True, slots=True)
class Put:
    """Edits that are made as one, under one revision."""

    edits: tuple[Edit, ...]

    def __call__(self, wanted: Wanted) -> Wanted:
        for edit in self.edits:
            wanted = edit(wanted)
        return wanted


@dataclass(frozen=True, slots=True)
class MoveClaim:
    """A tenant goes to another cell."""

    tenant: str
    cell: str

    def __call__(self, wanted: Wanted) -> Wanted:
        if not wanted.cells[self.cell].served:
            return wanted
        return replace(wanted, claims={**wanted.claims, self.tenant: self.cell})


@dataclass(frozen=True, slots=True)
class SetFile:
    """A CA file on Envoy's machine comes, goes or is overwritten."""

    file: str
    state: str

    def __call__(self, wanted: Wanted) -> Wanted:
        return replace(wanted, files={**wanted.files, self.file: self.state})


@dataclass(frozen=True, slots=True)
class Restart:
    """Something stops and is started again: the control plane, Envoy, or the agent."""

    what: str

    def __call__(self, wanted: Wanted) -> Wanted:
        return wanted


Operation = Put | MoveClaim | SetFile | Restart


def drained_first(before: Wanted, after: Wanted) -> Wanted | None:
    """Return the step before ``after`` that drains the leaving cells; None if no cell leaves."""
    leaving = [
        name
        for name, cell in after.cells.items()
        if not cell.served and before.cells[name].state not in {"retired", "drained"}
    ]
    for name in leaving:
        before = _with_cell(before, name, state="drained")
    return before if leaving else None


def _with_cell(wanted: Wanted, name: str, **fields: Any) -> Wanted:
    return replace(wanted, cells={**wanted.cells, name: replace(wanted.cells[name], **fields)})


def topology_document(
    wanted: Wanted, ports: Mapping[str, int], ca_directory: str
) -> dict[str, Any]:
    """Return a wanted state as the body of ``PUT /v1/topology``."""
    cells = [_cell_document(name, cell, ports, ca_directory) for name, cell in wanted.cells.items()]
    document = ruleset(wanted.rules)
    name = str(document["name"])
    return {"cells": cells, "rulesets": {name: document}, "active": name}


def _cell_document(
    name: str, cell: CellDraft, ports: Mapping[str, int], ca_directory: str
) -> dict[str, Any]:
    host = HOSTS[cell.host]
    tls = None
    if cell.tls == "long name":
        tls = {"server_name": LONG_NAME, "ca_file": f"{ca_directory}/{CA_FILES[0]}"}
    elif cell.tls:
        tls = {"server_name": "cell.example", "ca_file": f"{ca_directory}/{cell.tls}"}
    return {
        "name": name,
        "address": f"{name}.example.com",
        "endpoints": [
            f"[{host}]:{ports[one]}" if ":" in host else f"{host}:{ports[one]}"
            for one in cell.backends
        ],
        "session_prefix": name,
        "state": cell.state,
        "weight": cell.weight,
        "tls": tls,
        "health_check_path": cell.health_check_path,
    }


_cell = st.sampled_from(CELLS)
_forms = st.builds(Form, st.sampled_from(sorted(FORMS)), st.booleans())
_rules = st.dictionaries(st.sampled_from("abc"), _forms, max_size=3).map(
    lambda rules: tuple(rules.items())
)
_edit = st.one_of(
    st.builds(
        Place,
        _cell,
        st.sampled_from(list(HOSTS)),
        st.lists(st.sampled_from(BACKENDS), min_size=1, max_size=2, unique=True).map(tuple),
    ),
    st.builds(State, _cell, st.sampled_from(["active", "retired", "cordoned", "drained"])),
    st.builds(Tls, _cell, st.sampled_from(["", *CA_FILES, "long name"])),
    st.builds(Rules, _rules),
    st.builds(Swap, _cell, _cell),
    st.builds(HealthCheck, _cell, st.sampled_from([None, "/ok", "/fine"])),
    st.builds(Weight, _cell, st.sampled_from([100, 1, 0])),
)
_put = st.builds(Put, st.lists(_edit, min_size=1, max_size=4).map(tuple))
_set_file = st.builds(SetFile, st.sampled_from(CA_FILES), st.sampled_from(CA_STATES))


def operations(*, restarts: tuple[str, ...], most: int) -> st.SearchStrategy[list[Operation]]:
    """Generate sequences of at most so many operations, restarts of these processes among them."""
    kinds: list[st.SearchStrategy[Operation]] = [
        _put,
        _put,
        _put,
        _put,
        _set_file,
        st.builds(MoveClaim, st.sampled_from(TENANTS), _cell),
    ]
    if restarts:
        kinds.append(st.builds(Restart, st.sampled_from(restarts)))
    return st.lists(st.one_of(kinds), min_size=1, max_size=most)
