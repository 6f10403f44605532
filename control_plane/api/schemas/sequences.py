"""Ranges of ids, as the API reads them and answers with them."""

from __future__ import annotations

from pydantic import Field

from control_plane.api.schemas.answers import Document, RangeDocument, Written
from control_plane.api.schemas.fields import RequestBody
from control_plane.topology.cells.sequence_ranges import DEFAULT_SIZE


class AllotBody(RequestBody):
    """The size of the next range, in ids."""

    size: int = Field(DEFAULT_SIZE, ge=1, lt=2**63)


class ReportBody(RequestBody):
    """The highest id that the cell has handed out."""

    last: int = Field(ge=1, lt=2**63)


class MarkDocument(Document):
    """The highest id ever allotted, according to the database and to the mark file."""

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
    """All cells that have ranges, and the marks."""

    items: list[SequenceUseDocument]
    mark: MarkDocument


class CellSequences(SequenceUseDocument):
    """A cell's ranges, and how far they are used."""

    ranges: list[RangeDocument]


class Allotted(Written):
    """A range of ids that was allotted to a cell."""

    cell: str
    range: RangeDocument
