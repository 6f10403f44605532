"""How a write is answered: its revision, its ETag, and, if asked, only when the fleet runs it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic.json_schema import SkipJsonSchema

from control_plane.api.auth import actor_of
from control_plane.api.problem import ProblemError
from control_plane.names import MAX_IDEMPOTENCY_KEY_CHARS, REVISION_HEADER
from control_plane.topology.values.change import Written
from control_plane.xds.fleet.fleet import Fleet

MAX_WAIT_S = 300.0
MAX_CHANGES = 2000
"""Changes that the answer to a dry run lists at most."""
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)?\Z")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


def seconds(text: str) -> float:
    """Read ``500ms``, ``5s`` or ``1m``; raises `ProblemError` (422) otherwise."""
    found = _DURATION.match(text)
    value = float(found[1]) * _UNIT_S[found[2]] if found else -1.0
    if not 0 < value <= MAX_WAIT_S:
        detail = f"timeout {text!r} is not a duration up to {MAX_WAIT_S:.0f}s; write 5s"
        raise ProblemError(422, detail, code="invalid")
    return value


@dataclass(frozen=True, slots=True)
class Write:
    """The options that every write takes."""

    actor: str
    dry_run: bool
    force: bool
    wait: bool
    timeout_s: float
    expected: int | None
    fleet: Fleet

    def need_match(self) -> int | None:
        """The version of If-Match; raises `ProblemError` (428) if there was none."""
        if self.expected is None:
            detail = "send If-Match with the ETag that you read, or * to override"
            raise ProblemError(428, detail, code="precondition-required")
        return None if self.expected < 0 else self.expected

    def match(self) -> int | None:
        """The version of If-Match, None without one or for ``*``."""
        return self.expected if self.expected is not None and self.expected >= 0 else None

    async def answer(
        self, written: Written[Any], body: dict[str, Any], *, status: int = 200, etag: int | None
    ) -> JSONResponse:
        """The response to a write; with ``?wait=fleet`` only once the fleet runs it."""
        headers = {REVISION_HEADER: str(written.revision)}
        if etag is not None:
            headers["etag"] = f'"{etag}"'
        changes = [change.as_dict() for change in written.changes[:MAX_CHANGES]]
        document = {**body, "revision": written.revision}
        if self.dry_run:
            document |= {"dry_run": True, "changes": changes}
            status = 200
        elif self.wait:
            lacking = await self.fleet.wait(written.revision, self.timeout_s)
            if lacking:
                detail = (
                    f"committed as revision {written.revision}, but not all of the fleet runs it"
                )
                raise ProblemError(
                    504, detail, code="fleet-lags", revision=written.revision, nodes=list(lacking)
                )
        return JSONResponse(document, status_code=status, headers=headers)


async def write_options(
    request: Request,
    dry_run: Annotated[bool, Query(description="tell what would change; keep nothing")] = False,
    force: Annotated[bool, Query(description="override a guard")] = False,
    wait: Annotated[
        Literal["fleet"] | SkipJsonSchema[None], Query(description="answer when done")
    ] = None,
    timeout: Annotated[  # noqa: ASYNC109 - a query parameter
        str, Query(max_length=16, json_schema_extra={"pattern": "^[1-9][0-9]?(ms|s)$"})
    ] = "5s",
    if_match: Annotated[
        str | SkipJsonSchema[None],
        Header(json_schema_extra={"pattern": r'^(\*|(W/)?"[0-9]{1,18}")$'}),
    ] = None,
    x_actor: Annotated[str | SkipJsonSchema[None], Header(max_length=256)] = None,
    idempotency_key: Annotated[  # noqa: ARG001 - the guard has used it; here for the description
        str | SkipJsonSchema[None],
        Header(max_length=MAX_IDEMPOTENCY_KEY_CHARS, description="a repeated write is done once"),
    ] = None,
) -> Write:
    """Dependency: the options of a write."""
    expected: int | None = None
    if if_match is not None:
        text = if_match.strip().removeprefix("W/").strip('"')
        if text == "*":
            expected = -1
        elif text.isascii() and text.isdigit() and len(text) < 19:
            expected = int(text)
        else:
            raise ProblemError(
                412, f"If-Match {if_match!r} is no ETag of ours", code="stale-version"
            )
    return Write(
        actor_of(request, x_actor),
        dry_run,
        force,
        wait is not None,
        seconds(timeout),
        expected,
        request.app.state.fleet,
    )


WriteOptions = Annotated[Write, Depends(write_options)]
