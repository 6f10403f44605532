"""``cellway changes``: the change feed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from control_plane.cli.context import of
from control_plane.cli.output import Format, as_json, print_lines, table_of_items
from control_plane.names import MAX_PAGE

WATCH_POLL_S = 0.5
"""How often --watch asks for new changes."""
_COLUMNS = {
    "REVISION": "revision", "AT": "at", "ACTOR": "actor", "KIND": "kind", "ACTION": "action",
    "KEY": "key",
}  # fmt: skip


def changes(
    ctx: typer.Context,
    since: Annotated[
        int | None,
        typer.Option(min=0, help="changes after this revision; default: all that are kept"),
    ] = None,
    watch: Annotated[bool, typer.Option(help="go on with new changes until Ctrl-C")] = False,
) -> None:
    """Show what changed, when and by whom, the oldest first.

    With --watch and -o json each change is one line.
    """
    if since is None:
        since = of(ctx).client.get("/v1/audit", limit=1)["oldest"]
    if not watch:
        show_changes(ctx, list(_changes(ctx, since)))
        return
    while True:
        items = list(_changes(ctx, since))
        if of(ctx).output is Format.JSON:
            for change in items:
                print_lines([as_json(change)])
        elif items:
            show_changes(ctx, items)
        since = items[-1]["revision"] if items else since
        time.sleep(WATCH_POLL_S)


def _changes(ctx: typer.Context, since: int) -> Iterator[dict[str, Any]]:
    """Yield every change after a revision, up to now."""
    following: int | None = since
    while following is not None:
        page = of(ctx).client.get("/v1/changes", since=following, limit=MAX_PAGE)
        yield from page["items"]
        following = page["next"]


def show_changes(ctx: typer.Context, items: list[dict[str, Any]]) -> None:
    """Print changes as --output says."""
    of(ctx).show(items, table_of_items(_COLUMNS, items))
