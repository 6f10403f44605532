"""Moves of tenants, as the API reads them and answers with them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from control_plane.api.problem import ProblemError
from control_plane.api.schemas.answers import Document, Written
from control_plane.api.schemas.claims import KeyBody, SubjectBody
from control_plane.api.schemas.fields import CellName, Reason, RequestBody, Text
from control_plane.names import MAX_PAGE
from control_plane.routing.rules.regex import Regex, RegexError
from control_plane.topology.values.claim_key import normalise
from control_plane.topology.values.hold import Freeze, PreviewUser, Selector
from control_plane.topology.values.move import MovePlan

MAX_SELECTORS = 32
MAX_METHODS = 32
MAX_WEEKS_S = 28 * 86400
Method = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_-]{0,31}$")]
Token = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$")]
Seconds = Annotated[int, Field(ge=1, le=MAX_WEEKS_S)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


class SelectorBody(RequestBody):
    """Requests: those that all given parts fit."""

    methods: list[Method] = Field(default_factory=list, max_length=MAX_METHODS)
    path: Annotated[str, Field(max_length=4096)] | None = Field(
        None, description="a regex (RE2) that occurs in the path"
    )
    rule: Text | None = Field(None, description="the rule that found the claim")

    def selector(self, where: str) -> Selector:
        """Return it as the topology takes it; raise `ProblemError` (422) for a wrong regex."""
        if self.path is not None:
            try:
                Regex(self.path)
            except RegexError as error:
                errors = [{"field": f"{where}.path", "message": str(error), "mend": "see RE2"}]
                raise ProblemError(
                    422, f"{where}.path is no regex: {error}", code="invalid", errors=errors
                ) from error
        return Selector(tuple(self.methods), self.path, self.rule)


class FreezeBody(RequestBody):
    """What is refused while the tenant is frozen; without ``refuse``, everything that may write."""

    refuse: list[SelectorBody] | None = Field(default=None, max_length=MAX_SELECTORS)
    allow: list[SelectorBody] = Field(default_factory=list, max_length=MAX_SELECTORS)

    def freeze(self) -> Freeze:
        """Return it as the topology takes it."""
        refuse = None
        if self.refuse is not None:
            refuse = tuple(one.selector("freeze.refuse") for one in self.refuse)
        return Freeze(refuse, tuple(one.selector("freeze.allow") for one in self.allow))


class TesterBody(RequestBody):
    """Test users, who see the target from the rehearsal on."""

    kind: Literal["header", "cookie"]
    name: Token
    value: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!-~]+$")]

    def tester(self) -> PreviewUser:
        """Return it as the topology takes it."""
        return PreviewUser(self.kind, self.name, self.value)


class MoveBody(RequestBody):
    """A move to plan: exactly one of ``subject``, ``claims`` and ``batch`` says what it takes."""

    source: CellName = Field(description="the cell that has the claims")
    target: CellName = Field(description="the cell that gets them")
    reason: Reason
    subject: SubjectBody | None = None
    claims: list[KeyBody] | None = Field(None, min_length=1, max_length=MAX_PAGE)
    batch: Annotated[int, Field(ge=1, le=50_000)] | None = Field(
        None,
        description="so many claims of the source that no move has, and their subjects' others",
    )
    freeze: FreezeBody = Field(default_factory=lambda: FreezeBody())
    testers: list[TesterBody] = Field(default_factory=list, max_length=MAX_SELECTORS)
    needs_verification: bool = Field(
        True, description="whether a mover has to say that the data is at the target"
    )
    verification_max_age_s: Seconds = 3600
    one_way: bool = Field(False, description="move although nothing leads back")
    needs_drained: bool = Field(
        False, description="whether the source has to report twice that nothing is under way"
    )
    prepare_for_s: Seconds = Field(7 * 86400, description="then it is rolled back, if not frozen")
    freeze_for_s: Seconds = Field(900, description="then it is rolled back, if not switched")

    def plan(self) -> MovePlan:
        """Return the move as the topology takes it; raise `ProblemError` (422) if it can't."""
        return MovePlan(
            self.source,
            self.target,
            self.reason,
            self._selection(),
            self.freeze.freeze(),
            tuple(one.tester() for one in self.testers),
            self.needs_verification,
            timedelta(seconds=self.verification_max_age_s),
            self.one_way,
            self.needs_drained,
            timedelta(seconds=self.prepare_for_s),
            timedelta(seconds=self.freeze_for_s),
        )

    def _selection(self) -> dict[str, Any]:
        given = [self.subject, self.claims, self.batch]
        if sum(one is not None for one in given) != 1:
            detail = "give exactly one of subject, claims and batch"
            raise ProblemError(422, detail, code="invalid")
        if self.subject is not None:
            subject = self.subject.subject()
            subject.check()
            return {"subject": {"type": subject.type, "id": subject.id, "text": subject.text}}
        if self.claims is not None:
            keys = [(key.bucket, normalise(key.bucket, key.value)) for key in self.claims]
            return {"claims": [list(key) for key in dict.fromkeys(keys)]}
        return {"cell": self.batch}


class StepBody(RequestBody):
    """Why a step is taken."""

    reason: Text = ""


class VerifiedBody(RequestBody):
    """What a mover of data has verified."""

    forth: bool = Field(False, description="the data is at the target")
    back: bool = Field(False, description="the data can come back to the source")
    detail: Text = ""


class MoveReportBody(RequestBody):
    """What a cell or an edge has seen of the tenant's requests; leave out what is not known.

    All counts but ``in_flight`` count from the beginning of the move.
    """

    reporter: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!-~]+$")]
    in_flight: Count | None = Field(
        None, description="requests from before the freeze that are still under way"
    )
    refused: Count | None = Field(None, description="requests that the freeze refused")
    misdirected: Count | None = Field(None, description="requests that a cell refused with 421")
    old_cell_requests: Count | None = Field(
        None, description="requests that reached the old cell after the switch was settled"
    )


class MoveDocument(Document):
    """A move, without its timeline, which the certificate has."""

    id: int
    state: str
    version: int = Field(description="the move's ETag")
    source: str
    target: str
    reason: str
    selection: dict[str, Any]
    claims: int
    freeze: dict[str, Any]
    testers: list[dict[str, str]]
    needs_verification: bool
    verification_max_age_s: float
    one_way: bool
    needs_drained: bool
    prepare_for_s: float
    freeze_for_s: float
    created_at: str
    updated_at: str
    deadline_at: str | None
    facts: dict[str, Any]
    drained: Literal["shown", "no", "unknown"]
    blocked_by: list[str] = Field(description="why it can't switch yet; only while it is frozen")
    next_steps: list[str] = Field(description="the commands that lead on from here")


class MoveList(Document):
    """A page of moves, the newest first."""

    items: list[MoveDocument]
    next: str | None


class MoveWritten(Written):
    """A move after a step."""

    move: MoveDocument


class CertificateDocument(Document):
    """What is known of a move, and what is not."""

    move: int
    state: str
    source: str
    target: str
    selection: dict[str, Any]
    claims: int
    reason: str
    frozen: dict[str, Any]
    drained: str
    switched: dict[str, Any]
    refused: int | None
    misdirected: int | None
    old_cell: dict[str, Any]
    timeline: list[dict[str, Any]]
    reports: list[dict[str, Any]]
    not_known: list[str]
