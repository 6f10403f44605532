"""``cellway claims leases`` and ``settle``: updates of claims that their cells left open."""

from __future__ import annotations

from typing import Annotated

import typer

from control_plane.cli import operations
from control_plane.cli.client import Exit, Failure, resource
from control_plane.cli.context import of
from control_plane.cli.options import Limit, Reason, seconds
from control_plane.cli.output import messages, say_more, table_of

_COLUMNS = ("LEASE", "CELL", "AGE", "CREATES", "DESTROYS", "BEGUN")
_OUTCOMES = ("commit", "rollback")


def list_leases(
    ctx: typer.Context,
    cell: Annotated[str | None, typer.Option(help="only leases of this cell")] = None,
    older_than: Annotated[
        str | None, typer.Option(help="only leases that are older: 30s, 10m, 2h or 1d")
    ] = None,
    limit: Limit = 100,
) -> None:
    """List updates of claims that were begun and not ended, the oldest first."""
    age_s = seconds("--older-than", older_than) if older_than else None
    items, more = of(ctx).client.items("/v1/leases", limit, cell=cell, older_than_s=age_s)
    rows = [
        (one["lease"], one["cell"], f"{one['age_s']:.0f} s", one["creating"], one["destroying"],
         one["created_at"])
        for one in items
    ]  # fmt: skip
    of(ctx).show(items, table_of(_COLUMNS, rows))
    if more:
        say_more(limit)


def settle(
    ctx: typer.Context,
    outcome: Annotated[str, typer.Argument(help="commit or rollback")],
    reason: Reason,
    lease: Annotated[str | None, typer.Option(help="this lease")] = None,
    cell: Annotated[
        str | None, typer.Option(help="all open leases of a cell that won't come back")
    ] = None,
) -> None:
    """End open leases that their cell can't end: commit keeps their updates, rollback undoes them.

    Example: cellway claims settle rollback --cell c1 --reason "c1 was destroyed"
    """
    if outcome not in _OUTCOMES:
        raise Failure(f"{outcome!r} is no outcome; write commit or rollback", Exit.USAGE)
    body = {"outcome": outcome, "reason": reason}
    if cell is not None and lease is None:
        of(ctx).confirm(f"{outcome} all open leases of {cell}?")
        answer = of(ctx).write("POST", "/v1/leases/settle", body | {"cell": cell})
        operations.wait_for(ctx, answer)
    elif lease is not None and cell is None:
        of(ctx).confirm(f"{outcome} lease {lease}?")
        answer = of(ctx).write("POST", resource("leases", lease, "settle"), body)
        dry = "would be " if answer.get("dry_run") else ""
        messages.print(f"{dry}{answer['outcome']}, revision {answer['revision']}")
        of(ctx).show(answer)
    else:
        raise Failure("give --lease or --cell, one of them", Exit.USAGE)
