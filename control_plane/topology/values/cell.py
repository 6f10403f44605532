"""Cells: what an operator declares of one, what is stored of one, and the states of its life."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
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
"""The authorities that Envoy's machine trusts (PEM)."""
MAX_FILE_NAME = 4095
"""Bytes of a path, as Linux has it (PATH_MAX without the NUL at its end)."""
MAX_LABELS = 64
MAX_WEIGHT = 1000
FULL_SHARE = 100
"""The share of a cell that no drain lowers, in percent."""
MAX_CELL_ID = 2**31 - 1
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_LABEL = re.compile(r"[A-Za-z0-9._/-]{1,63}\Z")
_PATH = re.compile(r"/[\x21-\x7e]{0,255}\Z")


class CellState(enum.StrEnum):
    """The states of a cell's life, in their usual order.

    A cordoned cell serves the tenants that it has, and takes no new ones. So does a draining cell,
    which is to be emptied. A drained cell has no tenants left and is sent no requests.
    """

    PROVISIONING = "provisioning"
    CANARY = "canary"
    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
    RETIRED = "retired"

    @property
    def takes_new(self) -> bool:
        """Whether a cell in this state gets new tenants: claims that others make, free traffic."""
        return self in {CellState.CANARY, CellState.ACTIVE}

    @property
    def may_own(self) -> bool:
        """Whether a cell in this state may own claims at all (`lease_statements` says it in SQL).

        It may then claim for itself, under leases, what the tenants that it has need (ADR 72).
        """
        return self not in {CellState.DRAINED, CellState.RETIRED}


TRANSITIONS: Mapping[CellState, frozenset[CellState]] = {
    CellState.PROVISIONING: frozenset({CellState.CANARY, CellState.ACTIVE, CellState.RETIRED}),
    CellState.CANARY: frozenset({CellState.ACTIVE, CellState.CORDONED, CellState.DRAINING}),
    CellState.ACTIVE: frozenset({CellState.CORDONED, CellState.DRAINING, CellState.CANARY}),
    CellState.CORDONED: frozenset({CellState.ACTIVE, CellState.CANARY, CellState.DRAINING}),
    CellState.DRAINING: frozenset({CellState.DRAINED, CellState.ACTIVE, CellState.CORDONED}),
    CellState.DRAINED: frozenset({CellState.RETIRED, CellState.ACTIVE, CellState.CORDONED}),
    CellState.RETIRED: frozenset(),
}
"""By state, the states to which a cell can go from it."""


@dataclass(frozen=True, slots=True)
class CellTLS:
    """How Envoy uses TLS to the cell."""

    server_name: str | None = None
    """The name in the cell's certificate; None for the cell's address."""
    ca_file: str | None = None
    """The authorities that are trusted (PEM); None for the system's trust store."""

    @property
    def trust_file(self) -> str:
        """The file of the authorities that are trusted (PEM)."""
        return self.ca_file or SYSTEM_TRUST_STORE

    def problems(self) -> Iterator[Problem]:
        """Yield what Envoy would refuse."""
        if self.server_name is not None and (problem := host_problem(self.server_name)):
            yield Problem("tls.server_name", f"{self.server_name!r} {problem[0]}", problem[1])
        if self.ca_file is not None and not _is_file_name(self.ca_file):
            name = self.ca_file[:MAX_FILE_NAME]
            yield Problem(
                "tls.ca_file", f"{name!r} is no file name", "a path in Envoy's file system"
            )


def _is_file_name(text: str) -> bool:
    """Return whether a text may name a file: nothing invisible, such as NUL, stands in it."""
    return text.isprintable() and 0 < len(text.encode()) <= MAX_FILE_NAME


@dataclass(frozen=True, slots=True)
class SequenceRange:
    """Ids that only one cell hands out, from ``minval`` to ``maxval``, both included."""

    minval: int
    maxval: int


@dataclass(frozen=True, slots=True)
class CellSpec:
    """What an operator declares of a cell."""

    name: str
    address: str
    """The cell's public host, with or without a port."""
    endpoints: tuple[Endpoint, ...]
    """Where Envoy sends its requests: IP addresses only, or DNS names only."""
    id: int | None = None
    """A number from 1 to `MAX_CELL_ID`; None for the next free one."""
    tls: CellTLS | None = None
    health_check_path: str | None = None
    session_prefix: str | None = None
    sequence_ranges: tuple[SequenceRange, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    state: CellState = CellState.PROVISIONING
    weight: int = 100
    """The cell's share of the traffic that no cell owns, relative to those of others."""

    def check(self) -> None:
        """Raise `Invalid` with every problem of this spec."""
        problems = (
            *self._identity_problems(),
            *self._connection_problems(),
            *self._routing_problems(),
            *self._label_problems(),
            *self._sequence_problems(),
        )
        if problems:
            raise Invalid(*problems)

    def _identity_problems(self) -> Iterator[Problem]:
        if not _NAME.match(self.name):
            yield Problem("name", f"{self.name!r} is no name", "1 to 63 of a-z, 0-9 and -")
        if self.id is not None and not 0 < self.id <= MAX_CELL_ID:
            yield Problem("id", "out of range", f"a number from 1 to {MAX_CELL_ID}")

    def _connection_problems(self) -> Iterator[Problem]:
        if problem := address_problem(self.address):
            yield Problem("address", f"{self.address!r} {problem[0]}", problem[1])
        if self.tls is not None:
            yield from self.tls.problems()
        count = len(self.endpoints)
        if not 1 <= count <= MAX_ENDPOINTS:
            yield Problem("endpoints", f"{count} given", f"1 to {MAX_ENDPOINTS}")
        for endpoint in self.endpoints[:MAX_ENDPOINTS]:
            if problem := endpoint.problem():
                yield Problem("endpoints", f"{str(endpoint)!r} {problem[0]}", problem[1])
        if len({endpoint.is_ip for endpoint in self.endpoints}) > 1:
            yield Problem("endpoints", "IP addresses and DNS names are mixed", "use one kind")

    def _routing_problems(self) -> Iterator[Problem]:
        if self.session_prefix is not None and not _PREFIX.match(self.session_prefix):
            message = f"{self.session_prefix!r} is no prefix"
            yield Problem("session_prefix", message, "1 to 64 of letters, digits, _ and -")
        if self.health_check_path is not None and not _PATH.match(self.health_check_path):
            message = f"{self.health_check_path!r} is no path"
            yield Problem("health_check_path", message, "start with / and use visible ASCII")
        if not 0 <= self.weight <= MAX_WEIGHT:
            yield Problem("weight", "out of range", f"0 to {MAX_WEIGHT}")

    def _label_problems(self) -> Iterator[Problem]:
        if len(self.labels) > MAX_LABELS:
            yield Problem("labels", "too many", f"at most {MAX_LABELS}")
        for key, value in self.labels.items():
            if not _LABEL.match(key):
                yield Problem("labels", f"{key!r} is no label", "1 to 63 of A-Z a-z 0-9 . _ / -")
            if len(value) > 256:
                yield Problem("labels", f"{key!r} is too long", "at most 256 characters")

    def _sequence_problems(self) -> Iterator[Problem]:
        for span in self.sequence_ranges:
            if not 0 < span.minval <= span.maxval < 2**63:
                message = f"{span.minval}..{span.maxval} is no range"
                yield Problem("sequence_ranges", message, "1 <= minval <= maxval < 2^63")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as it is stored."""

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
    """Whether the cell answers its health checks."""
    version: int
    """The revision of the cell's last change, which is its ETag."""
    share: int = FULL_SHARE
    """Percent of its usual share of the free traffic; a drain lowers it (`topology.drains`)."""

    @property
    def server_name(self) -> ServerName:
        """The name that the cell's certificate must carry, if the cell has TLS."""
        declared = self.tls.server_name if self.tls is not None else None
        return ServerName.of(declared or self.address)

    @property
    def retired(self) -> bool:
        """Whether it is out of service for good: to routing it does not exist."""
        return self.state is CellState.RETIRED

    @property
    def serving(self) -> bool:
        """Whether requests for the cell's claims may be sent to it."""
        return self.healthy and self.state not in {CellState.DRAINED, CellState.RETIRED}

    @property
    def takes_new(self) -> bool:
        """Whether new traffic may be sent to the cell, if a rule or its weight says so."""
        return self.healthy and self.state.takes_new

    @property
    def accepts_new(self) -> bool:
        """Whether the cell gets a share of the traffic that no cell owns."""
        return self.takes_new and self.weight > 0 and self.share > 0

    def as_dict(self) -> dict[str, Any]:
        """Return the cell in plain JSON types, as the REST API and the change feed show it."""
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
            "share": self.share,
            "version": self.version,
        }

    def spec(self) -> CellSpec:
        """Return the part that an operator declares."""
        return CellSpec(**{one.name: getattr(self, one.name) for one in fields(CellSpec)})
