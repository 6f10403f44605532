"""Ranges of ids, as the API reads them and answers with them."""

from __future__ import annotations

from pydantic import Field

from control_plane.api.schemas.answers import Document, RangeDocument, Written
from control_plane.api.schemas.fields import RequestBody
from control_plane.topology.cells.sequence_ranges import DEFAULT_SIZE


class AllotBody(RequestBody):
    """How many ids the next range has."""

    size: int = Field(DEFAULT_SIZE, ge=1, lt=2**63)


class ReportBody(RequestBody):
    """The highest id that the cell has handed out."""

    last: int = Field(ge=1, lt=2**63)


class MarkDocument(Document):
    """The highest id ever allotted, as the database and the mark file know it."""

    mark: int
    floor: int
    outside: int | None
    restored: bool = Field(description="the database is older than the file: confirm first")


class SequenceUseDocument(Document):
    """How far a cell's ranges are used."""

    cell: str
    allotted: int
    used: int
    share: float
    alarming: bool


class SequenceList(Document):
    """Every cell with ranges, and the marks."""

    items: list[SequenceUseDocument]
    mark: MarkDocument


class CellSequences(SequenceUseDocument):
    """A cell's ranges, and how far they are used."""

    ranges: list[RangeDocument]


class Allotted(Written):
    """A range of ids that a cell got."""

    cell: str
    range: RangeDocument
