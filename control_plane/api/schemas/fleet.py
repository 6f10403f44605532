"""The fleet, as the API reads it and answers with it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from control_plane.api.schemas.answers import Document


class TypeDocument(Document):
    """A type of resource at an Envoy."""

    type: str
    state: str
    acked_version: str
    sent_version: str
    error: str
    rejected: list[str]


class EdgeMapDocument(Document):
    """The table of owners in an Envoy, as it told it last."""

    revision: int = Field(description="up to which it is complete; 0: it is not whole yet")
    current_table: bool = Field(description="whether it is of the same history as the one here")
    names: int
    lag_s: float = Field(description="for how long it was not known to be current")
    source: str = Field(
        description="control plane, its agent, or its agent's disk; empty: not told yet"
    )


class OtherEdgeMap(EdgeMapDocument):
    """The table of a node that gets its configuration elsewhere."""

    node: str = Field(description="its id, or its address if nothing names it")


class NodeDocument(Document):
    """An Envoy."""

    id: str
    group: str
    version: str
    outdated: str | None
    connected: bool
    connected_at: str
    last_message_at: str
    acked_revision: int
    state: str
    variant: str | None = Field(
        description='which variant of the configuration it gets; "module": the one for Envoys with '
        "cellway's module; null: the plain one"
    )
    variant_refused: str | None = Field(
        description="why it gets the plain one although it asks for another, mostly in its words"
    )
    types: list[TypeDocument]
    reports_health: bool
    edge_map: EdgeMapDocument | None = Field(description="null: it follows no owners here")


class CellAtEdges(Document):
    """The health of a cell at those Envoys that report it."""

    cell: str
    edges_up: int = Field(description="Envoys that hold an endpoint of it healthy")
    edges_down: int = Field(description="Envoys that hold none healthy")
    healthy: int = Field(description="endpoints held healthy, summed over those Envoys")
    total: int = Field(description="endpoints, summed over those Envoys")


class ClassifierAtEdges(Document):
    """The health of the classifiers at those Envoys that report it."""

    edges_up: int = Field(description="Envoys that can reach a classifier")
    edges_down: int = Field(description="Envoys that can reach none")
    healthy: int = Field(description="classifiers that can be reached, summed over those Envoys")
    total: int = Field(description="classifiers, summed over those Envoys")
    nodes_down: list[str] = Field(description="ids of the first 20 Envoys that can reach none")


class Addresses(Document):
    """The addresses that Envoys are told by the server that answers; none without its role xds."""

    xds: str | None = Field(description="host:port of gRPC (xDS), for `envoy bootstrap`")
    classifiers: list[str] = Field(description="host:port of each classifier that they ask")


class FleetDocument(Document):
    """All Envoys. ``alarm`` says why the newest revision is not published; null if it is."""

    revision: int
    alarm: str | None
    items: list[NodeDocument]
    cells: list[CellAtEdges]
    classifier: ClassifierAtEdges
    addresses: Addresses
    other_edge_maps: list[OtherEdgeMap]


class Alive(Document):
    """The process is alive."""

    status: Literal["ok"]


class Ready(Document):
    """Whether the control plane is ready. ``alarm`` says why it is not."""

    status: Literal["ok", "alarm"]
    revision: int
    alarm: str | None
