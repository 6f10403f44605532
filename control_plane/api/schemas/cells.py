"""Cells, as the API reads them and answers with them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from control_plane.api.schemas.answers import Document, RangeDocument, Written
from control_plane.api.schemas.fields import (
    Address,
    CellName,
    HostPort,
    HttpPath,
    Prefix,
    RangeBody,
    RequestBody,
    Text,
    at_most,
)
from control_plane.topology.values.cell import (
    MAX_ENDPOINTS,
    MAX_LABELS,
    MAX_WEIGHT,
    CellSpec,
    CellState,
    CellTLS,
    SequenceRange,
)
from control_plane.topology.values.endpoint import Endpoint

NOT_DECLARED = frozenset({"version", "healthy", "share", "reason", "forced"})
"""What the change feed has of a cell beside what an operator declares."""


class TLSBody(RequestBody):
    """TLS from Envoy to the cell."""

    server_name: Text | None = None
    ca_file: Text | None = None


class CellBody(RequestBody):
    """A cell, as an operator writes it."""

    name: CellName
    address: Address
    endpoints: list[HostPort] = Field(
        description="host:port, hosts all DNS names or all IP addresses",
        max_length=MAX_ENDPOINTS,
        json_schema_extra={"minItems": 1},
    )
    id: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    tls: TLSBody | None = None
    health_check_path: HttpPath | None = None
    session_prefix: Prefix | None = None
    sequence_ranges: list[RangeBody] = Field(default_factory=list, max_length=64)
    labels: Annotated[dict[str, Text], at_most(MAX_LABELS)] = Field(default_factory=dict)
    state: CellState = CellState.PROVISIONING
    weight: int = Field(100, ge=0, le=MAX_WEIGHT)

    def spec(self) -> CellSpec:
        """Return the cell as the topology takes it; raise `Invalid` for a malformed endpoint."""
        return CellSpec(
            self.name,
            self.address,
            tuple(Endpoint.parse(text) for text in self.endpoints),
            self.id,
            CellTLS(self.tls.server_name, self.tls.ca_file) if self.tls else None,
            self.health_check_path,
            self.session_prefix,
            tuple(SequenceRange(span.minval, span.maxval) for span in self.sequence_ranges),
            self.labels,
            self.state,
            self.weight,
        )


class TLSDocument(Document):
    """TLS from Envoy to the cell."""

    server_name: str | None
    ca_file: str | None


class CellDocument(Document):
    """A cell, as it is stored."""

    id: int
    name: str
    address: str
    endpoints: list[str]
    tls: TLSDocument | None
    health_check_path: str | None
    session_prefix: str | None
    sequence_ranges: list[RangeDocument]
    labels: dict[str, str]
    state: CellState
    weight: int
    healthy: bool
    share: int = Field(description="percent of its usual share of free traffic; drains lower it")
    version: int = Field(description="its ETag")
    serving: bool
    takes_new: bool
    accepts_new: bool


class CellList(Document):
    """All cells."""

    items: list[CellDocument]
    next: str | None


class CellWritten(Written):
    """A cell after a write."""

    cell: CellDocument
