"""``cellway drain``: a cell's share of the free traffic goes down in steps, and returns."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from control_plane.cli.client import Exit, Failure, resource
from control_plane.cli.context import of
from control_plane.cli.options import CellName, Limit, Reason, seconds
from control_plane.cli.output import messages, say_more, table_of, table_of_items

app = typer.Typer(
    no_args_is_help=True, help="Drains: less of the traffic that is free to go anywhere."
)
_FIELDS = {
    "CELL": "cell", "STATE": "state", "SHARE": "share", "TARGET": "target_share",
    "NEXT STEP": "next_step_at", "EXPIRES": "expires_at", "REASON": "reason", "DRAIN": "id",
}  # fmt: skip
Percent = Annotated[
    int, typer.Option("--to", help="percent of its usual share at the end, 0 to 99")
]
Step = Annotated[int, typer.Option(help="percent that each step takes away, 1 to 100")]
Interval = Annotated[str, typer.Option(help="time between two steps: 1s, 30s, 5m")]
Expires = Annotated[
    str, typer.Option(help="when the cell gets its share back by itself: 30m, 2h; at most 72h")
]


@app.command("start")
def start(
    ctx: typer.Context,
    cell: CellName,
    to: Percent,
    step: Step,
    interval: Interval,
    expires: Expires,
    reason: Reason,
) -> None:
    """Lower a cell's share of the traffic that is free to go anywhere; its tenants stay.

    With --dry-run it shows what each step would bring about.

    Example: cellway drain start c1 --to 0 --step 10 --interval 30s --expires 2h --reason "disks"
    """
    body = {
        "cell": cell,
        "target_share": to,
        "step": step,
        "interval_s": seconds("--interval", interval),
        "reason": reason,
        "expires_in_s": seconds("--expires", expires),
    }
    answer = of(ctx).write("POST", "/v1/drains", body)
    if answer.get("dry_run"):
        _show_preview(ctx, answer)
        return
    drain = answer["drain"]
    messages.print(f"revision {answer['revision']}: {cell} is drained until {drain['expires_at']}")
    messages.print(f"follow it with: cellway drain status {cell}")
    of(ctx).show_data(drain)


def _show_preview(ctx: typer.Context, answer: dict[str, Any]) -> None:
    preview = answer["preview"]
    columns = {"AFTER (s)": "after_s", "SHARE": "share", "OF ALL (%)": "part",
               "CAPACITY LEFT (%)": "capacity_left"}  # fmt: skip
    of(ctx).show(answer, table_of_items(columns, preview["steps"]))
    for part in preview["parts"]:
        messages.print(f"{part['cell']}: {part['now']} % -> {part['at_target']} % of free traffic")
    messages.print(f"{preview['claims_that_stay']} claims stay with the cell")


@app.command("list")
def list_drains(
    ctx: typer.Context,
    ended: Annotated[bool, typer.Option("--all", help="those that have ended, too")] = False,
    limit: Limit = 100,
) -> None:
    """List drains, the newest first."""
    items, more = of(ctx).client.items("/v1/drains", limit, active=None if ended else True)
    of(ctx).show(items, table_of_items(_FIELDS, items))
    if more:
        say_more(limit)


@app.command("status")
def status(ctx: typer.Context, cell: CellName) -> None:
    """Show the drain of a cell: the one that goes on, or the last."""
    items, _ = of(ctx).client.items("/v1/drains", 1, cell=cell)
    if not items:
        raise Failure(f"{cell} has never been drained", Exit.NOT_FOUND)
    drain = items[0]
    rows = [(name, value) for name, value in drain.items() if value not in {None, ""}]
    of(ctx).show(drain, table_of(("FIELD", "VALUE"), rows))


@app.command("pause")
def pause(ctx: typer.Context, cell: CellName) -> None:
    """Keep the share as it is now, until the drain expires."""
    _change(ctx, cell, "pause")


@app.command("resume")
def resume(ctx: typer.Context, cell: CellName) -> None:
    """Go on with a paused drain."""
    _change(ctx, cell, "resume")


@app.command("abort")
def abort(ctx: typer.Context, cell: CellName) -> None:
    """End a drain: the cell gets all of its share back at once."""
    _change(ctx, cell, "abort")


def _change(ctx: typer.Context, cell: str, action: str) -> None:
    items, _ = of(ctx).client.items("/v1/drains", 1, cell=cell, active=True)
    if not items:
        raise Failure(f"no drain of {cell} goes on; see: cellway drain list --all", Exit.NOT_FOUND)
    answer = of(ctx).write("POST", resource("drains", items[0]["id"], action))
    drain = answer["drain"]
    prefix = "would be" if answer.get("dry_run") else f"revision {answer['revision']}:"
    messages.print(f"{prefix} {cell} {drain['state']}, last share {drain['share']} %")
    of(ctx).show_data(drain)
