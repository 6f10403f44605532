"""The values that a routing decision is made from and made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

from control_plane.routing.admission.headers import UNSEEN_BY_RULES, join_values

ClaimKey = tuple[str, str]
"""A claim's bucket and value, e.g. ``("route", "gitlab-org")``."""


class Cell(Protocol):
    """What routing needs to know of a cell; `topology.model.Cell` has these attributes."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def session_prefix(self) -> str | None: ...
    @property
    def serving(self) -> bool: ...
    @property
    def accepts_new(self) -> bool: ...
    @property
    def weight(self) -> int: ...


class Cells:
    """An immutable index of cells by everything that a rule can name them by.

    Pass the cells that exist for routing: the caller leaves out retired ones.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        ordered = sorted(cells, key=lambda cell: cell.id)
        self.all: tuple[Cell, ...] = tuple(ordered)
        self.by_id: Mapping[int, Cell] = MappingProxyType({c.id: c for c in ordered})
        self.by_name: Mapping[str, Cell] = MappingProxyType({c.name: c for c in ordered})
        self.by_prefix: Mapping[str, Cell] = MappingProxyType(
            {c.session_prefix: c for c in ordered if c.session_prefix}
        )
        self.by_address: Mapping[str, Cell] = MappingProxyType(
            {c.address.lower(): c for c in ordered}
        )
        self.serving: Mapping[int, ToCell] = MappingProxyType(
            {c.id: ToCell(c.name, c.id) for c in ordered if c.serving}
        )
        """The outcome for each cell that may be sent requests."""
        self.first: Cell | None = ordered[0] if ordered else None
        """The cell with the lowest id: the answer to FIRST_CELL."""

    @cached_property
    def weighted(self) -> tuple[tuple[str, int], ...]:
        """Name and weight of each cell that takes new traffic, by id."""
        return tuple((c.name, c.weight) for c in self.all if c.accepts_new)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the edge forwards it: path normalised, internal headers stripped.

    Subjects are bytes because RE2 in Envoy works on the raw bytes. Header names are lower-case
    and exclude pseudo headers and ``host`` (that is ``authority``).
    """

    method: str
    authority: bytes
    path: bytes
    headers: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(
        cls,
        path: str | bytes = "/",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        method: str = "GET",
        authority: str = "localhost",
    ) -> Request:
        """Build a request from text; ``host`` headers, joined as by Envoy, are the authority.

        ``:authority`` goes before them.
        """
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        kept = [(name.lower(), value.encode("utf-8", "surrogateescape")) for name, value in pairs]
        named = {":authority", "host"} & {name for name, _ in kept}
        hosts = [value for name, value in kept if name == min(named, default="")]
        host = join_values(hosts) if hosts else authority.encode()
        kept = [field for field in kept if field[0] not in named]
        target = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
        return cls(method, host, target, tuple(kept))

    def joined_headers(self) -> dict[str, bytes]:
        """Header values by name; repeated ones joined with ",", as Envoy matches them.

        That holds for Cookie too, of which HTTP/1.1 allows one (RFC 6265 section 5.4); the several
        of HTTP/2 are one, joined with "; ", by the time that anything is matched. What no rule sees
        (`edge_headers.UNSEEN_BY_RULES`) is left out.
        """
        joined: dict[str, bytes] = {}
        for name, value in self.headers:
            if name not in UNSEEN_BY_RULES:
                joined[name] = joined[name] + b"," + value if name in joined else value
        return joined


def parse_cookies(header: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Split a Cookie header into (name, value) pairs, in order (RFC 6265 section 5.4 reversed).

    Blanks around names and values are trimmed; a piece without "=" is no cookie; quotes stay.
    """
    pairs: list[tuple[bytes, bytes]] = []
    for piece in header.split(b";"):
        name, equals, value = piece.partition(b"=")
        if equals:
            pairs.append((name.strip(b" \t"), value.strip(b" \t")))
    return tuple(pairs)


@dataclass(frozen=True, slots=True)
class ToCell:
    """The request belongs to this one cell."""

    cell: str
    cell_id: int


@dataclass(frozen=True, slots=True)
class Weighted:
    """Any of these cells may serve the request; the edge picks by weight."""

    choices: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The request is refused with this HTTP status; ``retry_after`` is in seconds."""

    code: int
    retry_after: int | None = None


Outcome = ToCell | Weighted | Status


@dataclass(frozen=True, slots=True)
class Step:
    """What one rule had to say: ``result`` is one word, ``why`` a sentence."""

    rule: str
    result: str
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request goes, by which rule, for which key, and why."""

    outcome: Outcome
    rule: str | None
    key: str | None
    reason: str
    matched_claim: ClaimKey | None = None
    trace: tuple[Step, ...] = field(default=())

    @property
    def cell(self) -> str | None:
        """The name of the one cell that was chosen, if it is one."""
        return self.outcome.cell if isinstance(self.outcome, ToCell) else None

    def allows(self, cell: str) -> bool:
        """Whether `cell` may serve the request under this decision."""
        if isinstance(self.outcome, ToCell):
            return self.outcome.cell == cell
        if isinstance(self.outcome, Weighted):
            return any(name == cell and weight > 0 for name, weight in self.outcome.choices)
        return False
