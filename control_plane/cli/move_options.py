"""The options of ``cellway move plan``, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from control_plane.cli.claims import subject_of
from control_plane.cli.client import Exit, Failure
from control_plane.cli.options import Reason, claim_key, seconds

_SELECTOR = "METHODS, PATH-REGEX or both with a space, e.g. 'POST,PUT ^/api/'; repeat for more"


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What a move is to do."""

    source: Annotated[str, typer.Option("--from", help="the cell that has the claims")]
    target: Annotated[str, typer.Option("--to", help="the cell that gets them")]
    reason: Reason
    subject: Annotated[
        str | None, typer.Option(help="all claims of project:42, or of the subject's text")
    ] = None
    claim: Annotated[
        list[str] | None, typer.Option(help="this claim, bucket:value; repeat for more")
    ] = None
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="so many claims of the cell, and all others of their subjects"),
    ] = None
    refuse: Annotated[
        list[str] | None,
        typer.Option(help=f"what a freeze refuses; default: all that may write. {_SELECTOR}"),
    ] = None
    allow: Annotated[
        list[str] | None, typer.Option(help=f"what a freeze lets through. {_SELECTOR}")
    ] = None
    test_user: Annotated[
        list[str] | None,
        typer.Option(help="who sees the target in the rehearsal: header:NAME=VALUE or cookie:…"),
    ] = None
    no_verification: Annotated[
        bool, typer.Option("--no-verification", help="switch without anybody saying data is there")
    ] = False
    verification_max_age: Annotated[
        str, typer.Option(help="how long a verification counts: 30m or 1h")
    ] = "1h"
    one_way: Annotated[bool, typer.Option("--one-way", help="move although nothing leads back")] = (
        False
    )
    needs_drained: Annotated[
        bool,
        typer.Option("--needs-drained", help="switch only once the source reports zero, twice"),
    ] = False
    freeze_for: Annotated[
        str, typer.Option(help="how long it may stay frozen before it is rolled back")
    ] = "15m"

    def body(self) -> dict[str, Any]:
        """Return it as the API takes it.

        Raises:
            Failure: an option is malformed.
        """
        keys = [claim_key(text) for text in self.claim] if self.claim else None
        refuse = [_selector("--refuse", text) for text in self.refuse] if self.refuse else None
        return {
            "source": self.source,
            "target": self.target,
            "reason": self.reason,
            "subject": None if self.subject is None else subject_of(self.subject),
            "claims": keys,
            "batch": self.batch,
            "freeze": {
                "refuse": refuse,
                "allow": [_selector("--allow", text) for text in self.allow or []],
            },
            "testers": [_tester(text) for text in self.test_user or []],
            "needs_verification": not self.no_verification,
            "verification_max_age_s": seconds("--verification-max-age", self.verification_max_age),
            "one_way": self.one_way,
            "needs_drained": self.needs_drained,
            "freeze_for_s": seconds("--freeze-for", self.freeze_for),
        }


def _selector(option: str, text: str) -> dict[str, Any]:
    """Read ``POST,PUT ^/api/``, ``POST`` or ``^/api/``."""
    methods, _, path = text.strip().partition(" ")
    if not methods or not methods.replace(",", "").isalpha() or not methods.isupper():
        methods, path = "", text.strip()
    if not methods and not path:
        raise Failure(f"{option} is empty; write 'POST ^/api/'", Exit.USAGE)
    return {"methods": methods.split(",") if methods else [], "path": path.strip() or None}


def _tester(text: str) -> dict[str, str]:
    kind, _, rest = text.partition(":")
    name, equals, value = rest.partition("=")
    if kind not in {"header", "cookie"} or not equals:
        example = "write header:x-test-user=yes or cookie:tester=yes"
        raise Failure(f"--test-user {text!r} names no test user; {example}", Exit.USAGE)
    return {"kind": kind, "name": name, "value": value}
