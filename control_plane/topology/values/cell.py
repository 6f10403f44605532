"""Cells: what is said of one, what is stored of one, and the states of its life."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from control_plane.topology.values.endpoint import (
    Endpoint,
    ServerName,
    address_problem,
    host_problem,
)
from control_plane.topology.values.errors import Invalid, Problem

MAX_ENDPOINTS = 256
SYSTEM_TRUST_STORE = "/etc/ssl/certs/ca-certificates.crt"
MAX_LABELS = 64
MAX_WEIGHT = 1000
MAX_CELL_ID = 2**31 - 1
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_LABEL = re.compile(r"[A-Za-z0-9._/-]{1,63}\Z")
_PATH = re.compile(r"/[\x21-\x7e]{0,255}\Z")


class CellState(enum.StrEnum):
    """The life of a cell, from left to right; ``cordoned`` serves but takes no new tenants."""

    PROVISIONING = "provisioning"
    CANARY = "canary"
    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
    RETIRED = "retired"


TRANSITIONS: Mapping[CellState, frozenset[CellState]] = {
    CellState.PROVISIONING: frozenset({CellState.CANARY, CellState.ACTIVE, CellState.RETIRED}),
    CellState.CANARY: frozenset({CellState.ACTIVE, CellState.CORDONED, CellState.DRAINING}),
    CellState.ACTIVE: frozenset({CellState.CORDONED, CellState.DRAINING, CellState.CANARY}),
    CellState.CORDONED: frozenset({CellState.ACTIVE, CellState.CANARY, CellState.DRAINING}),
    CellState.DRAINING: frozenset({CellState.DRAINED, CellState.ACTIVE, CellState.CORDONED}),
    CellState.DRAINED: frozenset({CellState.RETIRED, CellState.ACTIVE, CellState.CORDONED}),
    CellState.RETIRED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class CellTLS:
    """TLS from Envoy to the cell; without ``ca_file`` the system's trust store is used."""

    server_name: str | None = None
    ca_file: str | None = None

    @property
    def trust_file(self) -> str:
        """The authorities that are trusted (PEM)."""
        return self.ca_file or SYSTEM_TRUST_STORE

    def problems(self) -> Iterator[Problem]:
        """Yield what Envoy would refuse."""
        if self.server_name is not None:
            wrong = host_problem(self.server_name)
            if wrong is not None:
                yield Problem("tls.server_name", f"{self.server_name!r} {wrong[0]}", wrong[1])
        if self.ca_file is not None and not (self.ca_file and self.ca_file.isprintable()):
            yield Problem(
                "tls.ca_file", f"{self.ca_file!r} is no file name", "a path in Envoy's file system"
            )


@dataclass(frozen=True, slots=True)
class SequenceRange:
    """Ids that only this cell hands out, both ends included."""

    minval: int
    maxval: int


@dataclass(frozen=True, slots=True)
class CellSpec:
    """What an operator says of a cell. ``id`` None means: the next free one."""

    name: str
    address: str
    endpoints: tuple[Endpoint, ...]
    id: int | None = None
    tls: CellTLS | None = None
    health_check_path: str | None = None
    session_prefix: str | None = None
    sequence_ranges: tuple[SequenceRange, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    state: CellState = CellState.PROVISIONING
    weight: int = 100

    def check(self) -> None:
        """Raise `Invalid` with every problem of this spec."""
        problems = tuple(self._problems())
        if problems:
            raise Invalid(*problems)

    def _problems(self) -> list[Problem]:
        found: list[Problem] = []

        def need(ok: object, where: str, message: str, mend: str) -> None:
            if not ok:
                found.append(Problem(where, message, mend))

        need(
            _NAME.match(self.name), "name", f"{self.name!r} is no name", "1 to 63 of a-z, 0-9 and -"
        )
        need(
            self.id is None or 0 < self.id <= MAX_CELL_ID,
            "id",
            "out of range",
            "a number from 1 on",
        )
        wrong = address_problem(self.address)
        if wrong is not None:
            found.append(Problem("address", f"{self.address!r} {wrong[0]}", wrong[1]))
        found.extend(() if self.tls is None else self.tls.problems())
        count = len(self.endpoints)
        need(1 <= count <= MAX_ENDPOINTS, "endpoints", f"{count} given", f"1 to {MAX_ENDPOINTS}")
        need(
            len({e.is_ip for e in self.endpoints}) < 2,
            "endpoints",
            "IP addresses and DNS names are mixed",
            "use one kind",
        )
        need(
            self.session_prefix is None or _PREFIX.match(self.session_prefix),
            "session_prefix",
            f"{self.session_prefix!r} is no prefix",
            "1 to 64 of letters, digits, _ and -",
        )
        need(
            self.health_check_path is None or _PATH.match(self.health_check_path),
            "health_check_path",
            f"{self.health_check_path!r} is no path",
            "start with / and use visible ASCII",
        )
        need(0 <= self.weight <= MAX_WEIGHT, "weight", "out of range", f"0 to {MAX_WEIGHT}")
        need(len(self.labels) <= MAX_LABELS, "labels", "too many", f"at most {MAX_LABELS}")
        for key, value in self.labels.items():
            need(_LABEL.match(key), "labels", f"{key!r} is no label", "1 to 63 of a-z 0-9 . _ / -")
            need(len(value) <= 256, "labels", f"{key!r} is too long", "at most 256 characters")
        for span in self.sequence_ranges:
            need(
                0 < span.minval <= span.maxval < 2**63,
                "sequence_ranges",
                f"{span.minval}..{span.maxval} is no range",
                "1 <= minval <= maxval < 2^63",
            )
        return found


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as stored. ``version`` is the revision of its last change, and its ETag."""

    id: int
    name: str
    address: str
    endpoints: tuple[Endpoint, ...]
    tls: CellTLS | None
    health_check_path: str | None
    session_prefix: str | None
    sequence_ranges: tuple[SequenceRange, ...]
    labels: Mapping[str, str]
    state: CellState
    weight: int
    healthy: bool
    version: int

    @property
    def server_name(self) -> ServerName:
        """The name that its certificate must carry, if it has TLS."""
        named = self.tls.server_name if self.tls is not None else None
        return ServerName.of(named or self.address)

    @property
    def retired(self) -> bool:
        """Whether it is out of service for good: to routing it does not exist."""
        return self.state is CellState.RETIRED

    @property
    def serving(self) -> bool:
        """Whether requests for its claims may be sent to it."""
        return self.healthy and self.state not in {CellState.DRAINED, CellState.RETIRED}

    @property
    def accepts_new(self) -> bool:
        """Whether it gets a share of the traffic that no cell owns."""
        return (
            self.serving and self.state in {CellState.CANARY, CellState.ACTIVE} and self.weight > 0
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types, as in the REST API and the change feed."""
        return {
            "id": self.id,
            "name": self.name,
            "address": self.address,
            "endpoints": [str(endpoint) for endpoint in self.endpoints],
            "tls": None
            if self.tls is None
            else {"server_name": self.tls.server_name, "ca_file": self.tls.ca_file},
            "health_check_path": self.health_check_path,
            "session_prefix": self.session_prefix,
            "sequence_ranges": [
                {"minval": span.minval, "maxval": span.maxval} for span in self.sequence_ranges
            ],
            "labels": dict(self.labels),
            "state": str(self.state),
            "weight": self.weight,
            "healthy": self.healthy,
            "version": self.version,
        }

    def spec(self) -> CellSpec:
        """The part that an operator may write."""
        return CellSpec(
            self.name,
            self.address,
            self.endpoints,
            self.id,
            self.tls,
            self.health_check_path,
            self.session_prefix,
            self.sequence_ranges,
            self.labels,
            self.state,
            self.weight,
        )
