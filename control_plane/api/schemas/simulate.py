"""The outcome of a simulation, as the API answers with it."""

from __future__ import annotations

from pydantic import Field

from control_plane.api.schemas.answers import Document


class UnreadableLine(Document):
    """A line of a log that tells of no request."""

    line: int
    why: str
    text: str


class Unreadable(Document):
    """How many lines tell of no request, and the first of them."""

    count: int
    first: list[UnreadableLine]


class Side(Document):
    """What one ruleset decides: by which rule, and one of cell, status and weighted."""

    rule: str | None
    cell: str | None = None
    status: int | None = None
    weighted: dict[str, int] | None = None


class Grounds(Document):
    """Why one ruleset decides so."""

    key: str | None
    why: str


class Example(Document):
    """A recorded request; headers hold secrets, and are left out."""

    line: int
    method: str
    host: str
    path: str
    from_: Grounds = Field(alias="from")
    to: Grounds


class Group(Document):
    """Requests that both rulesets decide alike: from the same place to the same place."""

    different: bool = Field(description="whether they would go elsewhere")
    count: int
    from_: Side = Field(alias="from", description="by the active ruleset")
    to: Side = Field(description="by the proposed ruleset")
    examples: list[Example]


class Simulated(Document):
    """What would become of recorded requests."""

    revision: int
    requests: int
    different: int = Field(description="requests that would go elsewhere")
    by_other_rule: int = Field(description="requests that would go to the same place all the same")
    unreadable: Unreadable
    groups: list[Group] = Field(description="what differs first, the most frequent first")
    not_grouped: int = Field(description="requests of further groups, beyond 10,000")
