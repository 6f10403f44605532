"""``cellway fleet``: what the Envoys run."""

from __future__ import annotations

from typing import Any

import typer

from control_plane.cli.context import of
from control_plane.cli.output import messages, table_of

app = typer.Typer(no_args_is_help=True, help="The fleet: the Envoys and what they run.")
_COLUMNS = (
    *("NODE", "GROUP", "STATE", "REVISION", "ENVOY", "LAST HEARD", "REPORTS", "EDGE MAP", "ERROR"),
)
_SLOW_MAP_S = 5.0
"""A table of owners that was not known to be current for longer is called behind."""


@app.command("status")
def status(ctx: typer.Context) -> None:
    """Show what each Envoy runs, and what it refused and why.

    STATE is SYNCED (it runs the newest revision), STALE (it is behind), NACKED (it refused
    something, see ERROR), NOT_SENT or DISCONNECTED. EDGE MAP is the revision of its table of owners
    and how many names that has.
    """
    answer = of(ctx).client.get("/v1/fleet")
    _warn(answer)
    messages.print(f"revision {answer['revision']}, {len(answer['items'])} nodes")
    for cell in answer["cells"]:
        if cell["edges_down"]:
            messages.print(_unreachable(cell), markup=False)
    of(ctx).show(answer, table_of(_COLUMNS, map(_row, answer["items"])))


def _warn(answer: dict[str, Any]) -> None:
    """Say what an operator has to act on: an alarm, and outdated Envoys."""
    if answer["alarm"]:
        messages.print(f"ALARM: {answer['alarm']}", style="bold red", markup=False)
    classifier = answer.get("classifier")  # A server of an earlier version has none.
    if classifier and classifier["edges_down"]:
        messages.print(_no_classifier(classifier), style="bold red", markup=False)
    for node in answer["items"]:
        if node["outdated"]:
            messages.print(f"OUTDATED: {node['id']}: {node['outdated']}", style="red", markup=False)
        if refused := node.get("variant_refused"):
            text = f"NO EDGE MAP: {node['id']}: {refused}"
            messages.print(text, style="red", markup=False)


def _no_classifier(classifier: dict[str, Any]) -> str:
    """Return a line about the Envoys that can't reach a classifier."""
    down, names = classifier["edges_down"], classifier["nodes_down"]
    edges = classifier["edges_up"] + down
    more = f" and {down - len(names)} more" if down > len(names) else ""
    return (
        f"ALARM: {down} of {edges} nodes that report can't reach a classifier, so look-ups fail "
        f"there: {', '.join(names)}{more}"
    )


def _unreachable(cell: dict[str, Any]) -> str:
    """Return a line about a cell of which some Envoys hold no endpoint healthy."""
    edges = cell["edges_up"] + cell["edges_down"]
    return (
        f"{cell['cell']}: {cell['edges_down']} of {edges} nodes that report hold no "
        f"endpoint healthy ({cell['healthy']} of {cell['total']} endpoints are)"
    )


def _row(node: dict[str, Any]) -> tuple[Any, ...]:
    version = f"{node['version']} (outdated)" if node["outdated"] else node["version"]
    errors = "; ".join(f"{one['type']}: {one['error']}" for one in node["types"] if one["error"])
    reports = "yes" if node["reports_health"] else "no"
    return (
        node["id"], node["group"], node["state"], node["acked_revision"], version,
        node["last_message_at"], reports, _edge_map(node.get("edge_map")), errors,
    )  # fmt: skip


def _edge_map(table: dict[str, Any] | None) -> str:
    """Return a few words about the table of owners in an Envoy; a server before it tells none."""
    if table is None:
        return "-"
    if not table["revision"]:
        return f"loading for {table['lag_s']:.0f} s"
    text = f"{table['revision']}, {table['names']} names"
    if table["source"] != "control plane":
        text += f", from {table['source']}"
    if not table["current_table"]:
        return f"{text}, another table"
    return f"{text}, {table['lag_s']:.0f} s behind" if table["lag_s"] > _SLOW_MAP_S else text
