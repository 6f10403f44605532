"""The parameters that every write has, and the answer to a write.

The answer names the revision of the write and the new ETag. With ``?wait=fleet`` it comes once the
fleet runs that revision, and says how many Envoys were waited for; or as an error that names those
that don't run it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic.json_schema import SkipJsonSchema

from control_plane.api.auth import actor_of
from control_plane.api.callers import Admission
from control_plane.api.fleet_wait import FleetWait, Standing
from control_plane.api.problem import ProblemError
from control_plane.api.state import admission_of, caller_of, state_of
from control_plane.names import MAX_IDEMPOTENCY_KEY_CHARS, REVISION_HEADER
from control_plane.topology.values.change import Written

MAX_WAIT_S = 300.0
MAX_CHANGES = 2000
"""How many changes the answer to a dry run lists."""
ANY_VERSION = -1
"""The expected version of ``If-Match: *``."""
ACTIVE = "-active"
"""What an ETag of the active version of a ruleset ends with."""
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)?\Z")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


def seconds(text: str) -> float:
    """Return the seconds of a duration such as ``500ms``, ``5s`` or ``1m``.

    Raises:
        ProblemError: (422) The text is no duration, or is longer than `MAX_WAIT_S`.
    """
    duration = _DURATION.match(text)
    value = float(duration[1]) * _UNIT_S[duration[2]] if duration else -1.0
    if not 0 < value <= MAX_WAIT_S:
        detail = f"timeout {text!r} is not a duration up to {MAX_WAIT_S:.0f}s; write 5s"
        raise ProblemError(422, detail, code="invalid")
    return value


@dataclass(frozen=True, slots=True)
class RequestedWrite:
    """The options of a write that is requested."""

    actor: str
    dry_run: bool
    force: bool
    wait: bool
    timeout_s: float
    expected: int | None
    """The version of If-Match; None without it, `ANY_VERSION` for ``*``."""
    fleet: FleetWait
    admission: Admission

    def need_match(self) -> int | None:
        """Return the version of If-Match, None for ``*``.

        Raises:
            ProblemError: (428) There is no If-Match.
        """
        if self.expected is None:
            detail = "send If-Match with the ETag that you read, or * to override"
            raise ProblemError(428, detail, code="precondition-required")
        return self.match()

    def match(self) -> int | None:
        """Return the version of If-Match, None without it or for ``*``."""
        return None if self.expected == ANY_VERSION else self.expected

    async def answer(
        self, written: Written[Any], body: dict[str, Any], *, status: int = 200, etag: int | None
    ) -> JSONResponse:
        """Return the response to a write; with ``?wait=fleet``, once the fleet runs it.

        Args:
            written: The write's revision, and what it changed.
            body: The members of the response that are the operation's own.
            status: The HTTP status, unless it is a dry run.
            etag: The version of what was written; None if it has none.

        Raises:
            ProblemError: (502, 504) The write is committed, but the fleet does not run it.
                (401) It is committed, and the caller's token has lost its worth meanwhile.
        """
        headers = {REVISION_HEADER: str(written.revision)}
        if etag is not None:
            headers["etag"] = f'"{etag}"'
        changes = [change.as_dict() for change in written.changes[:MAX_CHANGES]]
        document = {**body, "revision": written.revision}
        if self.dry_run:
            document |= {"dry_run": True, "changes": changes}
            status = 200
        elif self.wait:
            document["fleet"] = (await self.fleet_runs(written.revision)).as_dict()
        return JSONResponse(document, status_code=status, headers=headers)

    async def fleet_runs(self, revision: int) -> Standing:
        """Wait until the fleet runs a revision, and return who does; raise as `answer` does."""
        waiting = asyncio.create_task(self.fleet.wait(revision, self.timeout_s))
        ended = asyncio.create_task(self.admission.ended())
        try:
            await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                detail = f"committed as revision {revision}; meanwhile your token lost its worth"
                raise ProblemError(401, detail, code="unauthenticated", revision=revision)
            return await waiting
        finally:
            waiting.cancel()
            ended.cancel()


DryRun = Annotated[bool, Query(description="tell what would change; keep nothing")]
Force = Annotated[bool, Query(description="override the guards of a cell's life")]
Wait = Annotated[
    Literal["fleet"] | SkipJsonSchema[None],
    Query(description="answer once the fleet runs it, or 504 after timeout"),
]
Timeout = Annotated[
    str,
    Query(
        max_length=16,
        description="how long to wait at most, for example 500ms, 5s or 1m",
        json_schema_extra={"pattern": "^[1-9][0-9]?(ms|s)$"},
    ),
]
IfMatch = Annotated[
    str | SkipJsonSchema[None],
    Header(
        description="the ETag of what is to be changed; if it was changed since, 412",
        json_schema_extra={"pattern": r'^(\*|(W/)?"[0-9]{1,18}(-active)?")$'},
    ),
]
ActorName = Annotated[
    str | SkipJsonSchema[None],
    Header(
        max_length=128,
        pattern=r"^[ -'*-~]*$",
        description="who you say you are, for the audit: ASCII without parentheses",
    ),
]
IdempotencyKey = Annotated[
    str | SkipJsonSchema[None],
    Header(max_length=MAX_IDEMPOTENCY_KEY_CHARS, description="a repeated write is done once"),
]


async def _write_options(
    request: Request,
    dry_run: DryRun = False,
    force: Force = False,
    wait: Wait = None,
    timeout: Timeout = "5s",  # noqa: ASYNC109 - a query parameter
    if_match: IfMatch = None,
    x_actor: ActorName = None,
    idempotency_key: IdempotencyKey = None,  # noqa: ARG001 - the middleware uses it; here for /docs
) -> AsyncIterator[RequestedWrite]:
    state = state_of(request)
    write = RequestedWrite(
        actor_of(request, x_actor),
        dry_run,
        force,
        wait is not None,
        seconds(timeout),
        None if if_match is None else _version(if_match),
        state.fleet_wait,
        admission_of(request),
    )
    # The slot is taken before anything is written, and given back after the response.
    waits = write.wait and not write.dry_run
    with state.waits.one(caller_of(request)) if waits else contextlib.nullcontext():
        yield write


def _version(if_match: str) -> int:
    """Return the version that If-Match names, `ANY_VERSION` for ``*``."""
    # A ruleset's ETag also says whether the version is active, which no write depends on.
    text = if_match.strip().removeprefix("W/").strip('"').removesuffix(ACTIVE)
    if text == "*":
        return ANY_VERSION
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    detail = f"If-Match {if_match!r} is no ETag of ours: send the one that you read, or *"
    raise ProblemError(412, detail, code="stale-version")


WriteOptions = Annotated[RequestedWrite, Depends(_write_options)]
"""The parameters that every write has, as a dependency."""
