"""A topology from files: the cells of an export, and claims as ``claims export`` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from control_plane.names import MAX_LINE_BYTES
from control_plane.routing.model import Cells, ClaimKey
from control_plane.topology.values.cell_document import cell_of
from control_plane.topology.values.claim_key import normalise, normalised_or_none
from control_plane.topology.values.errors import Invalid


class BadTopology(ValueError):
    """A file does not say what a simulation needs; the message says where and why."""


def cells_of(documents: Iterable[Mapping[str, Any]]) -> Cells:
    """Return the cells that documents describe, as the API or an export has them.

    A cell without an id gets the next free one, as the topology would give it.

    Raises:
        BadTopology: A document describes no cell, or two have the same id, name or address.
    """
    named = list(documents)
    last = max((_id(one) for one in named), default=0)
    cells = []
    for document in named:
        last += 0 if document.get("id") else 1
        try:
            cells.append(cell_of({**document, "id": document.get("id") or last}))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else error
            raise BadTopology(f"cell {document.get('name')!r}: {why}") from error
    for field in ("id", "name", "address"):
        values = [getattr(cell, field) for cell in cells]
        if twice := {value for value in values if values.count(value) > 1}:
            raise BadTopology(f"cells with the same {field}: {min(twice)}; give each its own")
    return Cells(cells)


def _id(document: Mapping[str, Any]) -> int:
    number = document.get("id")
    return number if isinstance(number, int) else 0


class ClaimsOfFile:
    """Tells who owns a claim, from the lines of an export of claims. About 200 bytes a claim."""

    def __init__(self, lines: Iterable[bytes], cells: Cells) -> None:
        """Read all lines.

        Raises:
            BadTopology: A line is no claim of one of the cells, or another line contradicts it.
        """
        self._owners: dict[str, dict[str, int]] = {}
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    self._read(line, cells)
                except (ValueError, KeyError, TypeError, Invalid) as error:
                    why = f"no {error}" if isinstance(error, KeyError) else error
                    raise BadTopology(f"line {number}: {why}") from error

    def _read(self, line: bytes, cells: Cells) -> None:
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"it has more than {MAX_LINE_BYTES} bytes")
        claim = json.loads(line)
        bucket, name = claim["bucket"], claim["cell"]
        cell = cells.by_name.get(name)
        if cell is None:
            raise ValueError(f"{name!r} is no cell of the topology")
        owners = self._owners.setdefault(bucket, {})
        value = normalise(bucket, claim["value"])
        if owners.setdefault(value, cell.id) != cell.id:
            raise ValueError(f"{bucket}:{value} belongs to another cell by an earlier line")

    def __call__(self, keys: Sequence[ClaimKey]) -> list[int | None]:
        """Return for each claim the id of the cell that owns it, or None."""
        return [self._owner(*key) for key in keys]

    def _owner(self, bucket: str, value: str) -> int | None:
        # What can't be claimed belongs to nobody, as in the topology.
        normal = normalised_or_none(bucket, value)
        return None if normal is None else self._owners.get(bucket, {}).get(normal)
