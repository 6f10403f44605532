"""Who a client certificate names: a cell, a router, an admin or a node of the fleet."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

import re2

from control_plane.names import cell_id

MAX_SANS = 64
"""Alternative names of a certificate that are looked at."""


class Role(enum.StrEnum):
    """What a caller is."""

    CELL = "cell"
    ROUTER = "router"
    ADMIN = "admin"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Identity:
    """One role of a caller: which cell, or which node of which group."""

    role: Role
    cell_id: int = 0
    group: str = ""
    node: str = ""

    def __str__(self) -> str:
        parts = [self.role, str(self.cell_id or ""), self.group, self.node]
        return "/".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Caller:
    """Everything that a certificate says its holder is; usually one thing."""

    identities: tuple[Identity, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.identities))

    @property
    def cell_ids(self) -> tuple[int, ...]:
        """The cells it may act for."""
        return tuple(one.cell_id for one in self.identities if one.role is Role.CELL)

    def has(self, role: Role) -> bool:
        """Whether it has this role."""
        return any(one.role is role for one in self.identities)


class BadPattern(ValueError):
    """A configured pattern can't tell who a name means."""


_GROUPS: dict[Role, frozenset[str]] = {
    Role.CELL: frozenset({"cell"}),
    Role.ROUTER: frozenset(),
    Role.ADMIN: frozenset(),
    Role.NODE: frozenset({"group", "node"}),
}


class NamePatterns:
    """Reads roles from subject alternative names (URI, DNS, e-mail) by one pattern per role.

    Patterns are RE2 and match a whole name. That of cells captures ``cell`` (its id), that of
    nodes ``group`` and ``node``.
    """

    def __init__(self, patterns: dict[Role, str]) -> None:
        self._patterns = {role: _compiled(role, text) for role, text in patterns.items()}

    def caller_of(self, names: Iterable[str]) -> Caller | None:
        """Who these names mean; None if nobody that we know of."""
        found: list[Identity] = []
        for name in list(names)[:MAX_SANS]:
            for role, pattern in self._patterns.items():
                match = pattern.fullmatch(name)
                identity = match and _identity(role, match.groupdict())
                if identity and identity not in found:
                    found.append(identity)
        return Caller(tuple(found)) if found else None


def _compiled(role: Role, text: str) -> re2._Regexp[str]:
    try:
        pattern = re2.compile(text)
    except re2.error as error:
        raise BadPattern(f"the pattern of {role} is no RE2 regex: {error}") from error
    groups = frozenset(pattern.groupindex)
    if groups != _GROUPS[role]:
        wanted = ", ".join(sorted(_GROUPS[role])) or "nothing"
        given = ", ".join(sorted(groups)) or "nothing"
        raise BadPattern(f"the pattern of {role} has to capture {wanted}, not {given}")
    return pattern


def _identity(role: Role, captured: dict[str, str | None]) -> Identity | None:
    if role is Role.CELL:
        number = cell_id(captured.get("cell") or "")
        return None if number is None else Identity(role, number)
    group, node = captured.get("group") or "", captured.get("node") or ""
    if role is Role.NODE and not (group and node):
        return None
    return Identity(role, 0, group, node)
