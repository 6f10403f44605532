"""``cellway explain``, ``fleet`` and ``changes``: ways to see what is going on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from control_plane.cli.client import Exit, Failure
from control_plane.cli.context import of
from control_plane.cli.output import Format, messages, show, table_of

fleet = typer.Typer(no_args_is_help=True, help="The Envoys.")
WATCH_POLL_S = 0.5


def explain(
    ctx: typer.Context,
    url: str,
    method: Annotated[str, typer.Option("-X", "--request")] = "GET",
    header: Annotated[list[str] | None, typer.Option("-H", "--header", help="Name: value")] = None,
    cookie: Annotated[list[str] | None, typer.Option("-b", "--cookie", help="a=1; b=2")] = None,
) -> None:
    """Show which cell a request would reach, by which rule, and why."""
    headers: list[tuple[str, str]] = []
    for text in header or []:
        name, colon, value = text.partition(":")
        if not colon:
            raise Failure(f"{text!r} is no header; write 'Name: value'", Exit.USAGE)
        headers.append((name.strip(), value.strip()))
    headers += [("cookie", text) for text in cookie or []]
    body = {"url": url, "method": method, "headers": headers}
    answer = of(ctx).client.call("POST", "/v1/explain", body=body).json()
    rows = [(step["rule"], step["result"], step["why"]) for step in answer["trace"]]
    title = f"{_outcome(answer['outcome'])} by rule {answer['rule'] or '-'}: {answer['reason']}"
    messages.print(title, markup=False)
    show(answer, of(ctx).output, table_of(("RULE", "RESULT", "WHY"), rows))


def _outcome(outcome: dict[str, Any]) -> str:
    if "cell" in outcome:
        return f"→ {outcome['cell']}"
    if "weighted" in outcome:
        return "→ any of " + ", ".join(f"{k} ({v})" for k, v in outcome["weighted"].items())
    return f"→ refused with {outcome['status']}"


@fleet.command("status")
def fleet_status(ctx: typer.Context) -> None:
    """Show what each Envoy runs, and what it refused and why."""
    answer = of(ctx).client.get("/v1/fleet")
    if answer["alarm"]:
        messages.print(f"ALARM: {answer['alarm']}", style="bold red", markup=False)
    for node in answer["items"]:
        if node["outdated"]:
            messages.print(f"OUTDATED: {node['id']}: {node['outdated']}", style="red", markup=False)
    rows = [
        (n["id"], n["group"], n["state"], n["acked_revision"], _version(n), n["last_message_at"],
         "yes" if n["reports_health"] else "no",
         "; ".join(f"{t['type']}: {t['error']}" for t in n["types"] if t["error"]))
        for n in answer["items"]
    ]  # fmt: skip
    columns = ("NODE", "GROUP", "STATE", "REVISION", "ENVOY", "LAST HEARD", "REPORTS", "ERROR")
    messages.print(f"revision {answer['revision']}, {len(rows)} nodes")
    for cell in answer["cells"]:
        if cell["edges_down"]:
            edges = cell["edges_up"] + cell["edges_down"]
            messages.print(
                f"{cell['cell']}: {cell['edges_down']} of {edges} nodes that report hold no "
                f"endpoint healthy ({cell['healthy']} of {cell['total']} endpoints are)",
                markup=False,
            )
    show(answer, of(ctx).output, table_of(columns, rows))


def _version(node: dict[str, Any]) -> str:
    return f"{node['version']} (outdated)" if node["outdated"] else str(node["version"])


def changes(
    ctx: typer.Context,
    since: Annotated[
        int | None, typer.Option(min=0, help="after this revision; default: all that is kept")
    ] = None,
    watch: Annotated[bool, typer.Option(help="go on until Ctrl-C")] = False,
) -> None:
    """Show what changed, when and by whom; with --watch and -o json one change a line."""
    output = of(ctx).output
    if since is None:
        since = of(ctx).client.get("/v1/audit", limit=1)["oldest"]
    if not watch:
        _show_changes(list(_changes(ctx, since)), output)
        return
    while True:
        items = list(_changes(ctx, since))
        since = items[-1]["revision"] if items else since
        if output is Format.JSON:
            for change in items:
                print(json.dumps(change, ensure_ascii=False), flush=True)
        elif items:
            _show_changes(items, output)
        time.sleep(WATCH_POLL_S)


def audit(
    ctx: typer.Context,
    claim: Annotated[str | None, typer.Argument(help="bucket:value, e.g. route:foo")] = None,
    kind: Annotated[str | None, typer.Option(help="cell, claim, lease, ruleset, …")] = None,
    actor: Annotated[str | None, typer.Option(help="exactly this one")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most this many")] = 100,
) -> None:
    """Show who did what, the newest first; of a claim also what became of its leases."""
    params = {"kind": kind, "actor": actor}
    if claim is not None:
        bucket, colon, value = claim.partition(":")
        if not colon or not value:
            raise Failure(f"{claim!r} is not bucket:value; write route:gitlab-org", Exit.USAGE)
        params |= {"bucket": bucket, "value": value}
    client = of(ctx).client
    items, more = client.items("/v1/audit", limit, **params)
    _show_changes(items, of(ctx).output)
    if more:
        messages.print(f"there are more; raise --limit (now {limit})")
    elif oldest := client.get("/v1/audit", limit=1)["oldest"]:
        messages.print(f"what was up to revision {oldest} is no longer kept")


def _changes(ctx: typer.Context, since: int) -> Iterator[dict[str, Any]]:
    """Every change after a revision that there is by now."""
    client = of(ctx).client
    following: int | None = since
    while following is not None:
        page = client.get("/v1/changes", since=following, limit=1000)
        yield from page["items"]
        following = page["next"]


def _show_changes(items: list[dict[str, Any]], output: Format) -> None:
    rows = [(c["revision"], c["at"], c["actor"], c["kind"], c["action"], c["key"]) for c in items]
    columns = ("REVISION", "AT", "ACTOR", "KIND", "ACTION", "KEY")
    show(items, output, table_of(columns, rows))
