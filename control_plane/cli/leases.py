"""``cellway claims leases|settle|transfer|release-all``: what operators do where no cell can."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from control_plane.cli import operations
from control_plane.cli.client import Exit, Failure, resource
from control_plane.cli.context import of
from control_plane.cli.output import messages, show, table_of

_AGE = re.compile(r"([0-9]{1,9})([smhd])\Z")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_COLUMNS = ("LEASE", "CELL", "AGE", "CREATES", "DESTROYS", "BEGUN")
_SUBJECT_TYPES = frozenset({"organization", "namespace", "project", "user"})
Reason = Annotated[str, typer.Option(help="stays in the audit")]


def _age(text: str) -> int:
    found = _AGE.match(text)
    if found is None:
        raise Failure(f"--older-than {text!r} is no age; write 10m, 2h or 1d", Exit.USAGE)
    return int(found[1]) * _UNIT_S[found[2]]


def list_leases(
    ctx: typer.Context,
    cell: Annotated[str | None, typer.Option(help="of this cell only")] = None,
    older_than: Annotated[str | None, typer.Option(help="10m, 2h, 1d")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most this many")] = 100,
) -> None:
    """List open leases, the oldest first."""
    params = {"cell": cell, "older_than_s": _age(older_than) if older_than else None}
    items, more = of(ctx).client.items("/v1/leases", limit, **params)
    rows = [
        (one["lease"], one["cell"], f"{one['age_s']:.0f} s", one["creating"], one["destroying"],
         one["created_at"])
        for one in items
    ]  # fmt: skip
    show(items, of(ctx).output, table_of(_COLUMNS, rows))
    if more:
        messages.print(f"there are more; raise --limit (now {limit})")


def settle(
    ctx: typer.Context,
    outcome: Annotated[str, typer.Argument(help="commit or rollback")],
    reason: Reason,
    lease: Annotated[str | None, typer.Option(help="this one")] = None,
    cell: Annotated[str | None, typer.Option(help="all of a cell that won't come back")] = None,
) -> None:
    """End open leases that their cell can't end: commit takes them as done, rollback as undone."""
    if outcome not in {"commit", "rollback"}:
        raise Failure(f"{outcome!r} is no outcome; write commit or rollback", Exit.USAGE)
    if (lease is None) == (cell is None):
        raise Failure("give --lease or --cell", Exit.USAGE)
    of(ctx).confirm(f"{outcome} {f'lease {lease}' if lease else f'all open leases of {cell}'}?")
    client, params = of(ctx).client, of(ctx).write_params()
    body = {"outcome": outcome, "reason": reason}
    if cell is not None:
        body["cell"] = cell
        answer = client.call("POST", "/v1/leases/settle", body=body, params=params).json()
        operations.wait_for(ctx, answer)
        return
    assert lease is not None
    path = resource("leases", lease, "settle")
    answer = client.call("POST", path, body=body, params=params).json()
    dry = "would be " if answer.get("dry_run") else ""
    messages.print(f"{dry}{answer['outcome']}, revision {answer['revision']}")
    show(answer, of(ctx).output)


def _subject(text: str) -> dict[str, Any]:
    kind, colon, number = text.partition(":")
    if colon and kind in _SUBJECT_TYPES and number.isascii() and number.isdigit():
        return {"type": kind, "id": int(number)}
    return {"text": text}


def transfer(
    ctx: typer.Context,
    subject: Annotated[
        str, typer.Argument(help="project:42 (organization, namespace, user), or a claim's text")
    ],
    source: Annotated[str, typer.Option("--from", help="the cell that has its claims")],
    target: Annotated[str, typer.Option("--to", help="the cell that gets them")],
    reason: Reason,
) -> None:
    """Move all claims of a subject to another cell in one step."""
    of(ctx).confirm(f"move all claims of {subject} from {source} to {target}?")
    body = {"subject": _subject(subject), "source": source, "target": target, "reason": reason}
    answer = (
        of(ctx)
        .client.call("POST", "/v1/claims/transfer", body=body, params=of(ctx).write_params())
        .json()
    )
    dry = "would move" if answer.get("dry_run") else f"revision {answer['revision']}: moved"
    messages.print(f"{dry} {answer['moved']} claims")
    show(answer, of(ctx).output)


def release_all(ctx: typer.Context, cell: str, reason: Reason) -> None:
    """Free all claims of a retired cell, in bounded batches; broken off, it can be repeated."""
    of(ctx).confirm(f"release all claims of {cell}?")
    path = resource("cells", cell, "release-claims")
    answer = of(ctx).client.call(
        "POST", path, body={"reason": reason}, params=of(ctx).write_params()
    )
    operations.wait_for(ctx, answer.json())
