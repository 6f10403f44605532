"""The callers that client certificates name: cells, routers, admins and nodes of the fleet."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import re2

from control_plane.names import cell_id


class Role(enum.StrEnum):
    """A kind of caller."""

    CELL = "cell"
    ROUTER = "router"
    ADMIN = "admin"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Identity:
    """One role of a caller, with the cell's id or with the node's name and group."""

    role: Role
    cell_id: int = 0
    group: str = ""
    node: str = ""

    def __str__(self) -> str:
        parts = [self.role, str(self.cell_id or ""), self.group, self.node]
        return "/".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a certificate, whose name usually has one role and may have several."""

    identities: tuple[Identity, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.identities))

    @property
    def cell_ids(self) -> tuple[int, ...]:
        """The ids of the cells that the caller may act for."""
        return tuple(one.cell_id for one in self.identities if one.role is Role.CELL)

    def has(self, role: Role) -> bool:
        """Tell whether the caller has this role."""
        return any(one.role is role for one in self.identities)


class BadPattern(ValueError):
    """A configured pattern can't say whom a name means."""


_GROUPS: dict[Role, frozenset[str]] = {
    Role.CELL: frozenset({"cell"}),
    Role.ROUTER: frozenset(),
    Role.ADMIN: frozenset(),
    Role.NODE: frozenset({"group", "node"}),
}


class NamePatterns:
    """The patterns of the names in certificates, one or several for each role.

    A name is the URI among a certificate's subject alternative names (see `svid`). A pattern is RE2
    and matches the whole of it. The one of cells captures ``cell`` (the id), the one of nodes
    ``group`` and ``node``. For example ``spiffe://cellway/cell/(?P<cell>[0-9]+)`` makes a cell of
    ``spiffe://cellway/cell/3``. A name may match the patterns of several roles, and has them all.

    Raises:
        BadPattern: A pattern is no RE2 regex, or does not capture what its role needs.
    """

    def __init__(self, patterns: Mapping[Role, Sequence[str]]) -> None:
        self._patterns = [
            (role, _compiled(role, text)) for role, texts in patterns.items() for text in texts
        ]

    def caller_of(self, name: str) -> Caller | None:
        """Return the caller that a name means; None if no pattern matches it."""
        identities: list[Identity] = []
        for role, pattern in self._patterns:
            match = pattern.fullmatch(name)
            identity = match and _identity(role, match.groupdict())
            if identity and identity not in identities:
                identities.append(identity)
        return Caller(tuple(identities)) if identities else None


def _compiled(role: Role, text: str) -> re2._Regexp[str]:
    try:
        pattern = re2.compile(text)
    except re2.error as error:
        raise BadPattern(f"the pattern of {role} is no RE2 regex: {error}") from error
    groups = frozenset(pattern.groupindex)
    if groups != _GROUPS[role]:
        wanted = ", ".join(sorted(_GROUPS[role])) or "nothing"
        captured = ", ".join(sorted(groups)) or "nothing"
        raise BadPattern(f"the pattern of {role} has to capture {wanted}, not {captured}")
    return pattern


def _identity(role: Role, captured: dict[str, str | None]) -> Identity | None:
    if role is Role.CELL:
        number = cell_id(captured.get("cell") or "")
        return None if number is None else Identity(role, number)
    group, node = captured.get("group") or "", captured.get("node") or ""
    if role is Role.NODE and not (group and node):
        return None
    return Identity(role, 0, group, node)
