"""Reads a cell from plain JSON types, as exports and the change feed have it (`Cell.as_dict`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from control_plane.topology.values.cell import Cell, CellState, CellTLS, SequenceRange
from control_plane.topology.values.endpoint import Endpoint

_WEIGHT = 100
"""What `CellSpec` has for a cell whose weight is not given."""


def cell_of(document: Mapping[str, Any]) -> Cell:
    """Return the cell that a document describes; what an export leaves out has its default.

    Nothing is checked, since what is read was a cell once.

    Raises:
        KeyError, TypeError, ValueError: It describes none.
    """
    tls = document.get("tls")
    spans = document.get("sequence_ranges", ())
    return Cell(
        id=int(document["id"]),
        name=str(document["name"]),
        address=str(document["address"]),
        endpoints=tuple(_endpoint(text) for text in document.get("endpoints", ())),
        tls=None if tls is None else CellTLS(tls.get("server_name"), tls.get("ca_file")),
        health_check_path=document.get("health_check_path"),
        session_prefix=document.get("session_prefix"),
        sequence_ranges=tuple(SequenceRange(one["minval"], one["maxval"]) for one in spans),
        labels=dict(document.get("labels", {})),
        state=CellState(document.get("state", CellState.PROVISIONING)),
        weight=int(document.get("weight", _WEIGHT)),
        healthy=bool(document.get("healthy", True)),
        version=int(document.get("version", 0)),
    )


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host.removeprefix("[").removesuffix("]"), int(port))
