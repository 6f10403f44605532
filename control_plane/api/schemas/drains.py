"""Drains, as the API reads them and answers with them."""

from __future__ import annotations

from pydantic import Field

from control_plane.api.schemas.answers import Document, Written
from control_plane.api.schemas.fields import CellName, Reason, RequestBody
from control_plane.topology.values.drain import MAX_DRAIN_S, DrainSpec, DrainState


class DrainBody(RequestBody):
    """A drain, as an operator asks for it. Nothing has a default: each is a decision."""

    cell: CellName
    target_share: int = Field(
        ge=0, le=99, description="percent of the cell's usual share that it is to have at the end"
    )
    step: int = Field(ge=1, le=100, description="percent that each step takes away")
    interval_s: int = Field(ge=1, le=MAX_DRAIN_S, description="seconds between two steps")
    reason: Reason
    expires_in_s: int = Field(
        ge=1, le=MAX_DRAIN_S, description="seconds until the cell gets all of its share back"
    )

    def spec(self) -> DrainSpec:
        """Return it as the topology takes it."""
        return DrainSpec(
            self.cell,
            self.target_share,
            self.step,
            self.interval_s,
            self.reason,
            self.expires_in_s,
        )


class DrainDocument(Document):
    """A drain, as it is stored."""

    id: str
    cell: str
    state: DrainState
    share: int = Field(description="percent of the cell's usual share that it has now")
    target_share: int
    step: int
    interval_s: int
    reason: str
    actor: str
    detail: str = Field(description="why it was paused or has ended, unless an operator did it")
    started_at: str
    expires_at: str
    next_step_at: str | None
    ended_at: str | None
    version: int = Field(description="its ETag")


class DrainList(Document):
    """Drains, the newest first."""

    items: list[DrainDocument]
    next: str | None


class DrainStepDocument(Document):
    """What a step brings about; parts are percent of the traffic that is free to go anywhere."""

    after_s: int
    share: int
    part: float = Field(description="of the drained cell")
    capacity_left: float = Field(description="percent of the weights of all such cells")


class PartDocument(Document):
    """A cell's part of the traffic that is free to go anywhere, in percent."""

    cell: str
    now: float
    at_target: float


class PreviewDocument(Document):
    """What a drain would change."""

    steps: list[DrainStepDocument]
    parts: list[PartDocument]
    claims_that_stay: int = Field(description="the cell goes on serving them")


class DrainWritten(Written):
    """A drain after a write."""

    drain: DrainDocument
    preview: PreviewDocument | None = Field(None, description="only of a dry run of a start")
