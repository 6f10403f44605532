"""``cellway claims``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from control_plane.cli import claims_import, leases
from control_plane.cli.client import Exit, Failure, resource
from control_plane.cli.context import of
from control_plane.cli.output import messages, show, table_of

app = typer.Typer(no_args_is_help=True, help="Claims: who owns which name.")
app.command("leases")(leases.list_leases)
app.command("settle")(leases.settle)
app.command("transfer")(leases.transfer)
app.command("release-all")(leases.release_all)
app.command("import")(claims_import.import_claims)
app.command("export")(claims_import.export_claims)
_KEY_HELP = "bucket:value, e.g. route:gitlab-org"
Key = Annotated[str, typer.Argument(help=_KEY_HELP)]
Keys = Annotated[list[str], typer.Argument(help=_KEY_HELP)]


def _key(text: str) -> dict[str, str]:
    bucket, colon, value = text.partition(":")
    if not colon or not value:
        raise Failure(f"{text!r} is not bucket:value; write route:gitlab-org", Exit.USAGE)
    return {"bucket": bucket, "value": value}


@app.command("get")
def get_claim(ctx: typer.Context, key: Key) -> None:
    """Show who owns a value."""
    named = _key(key)
    show(of(ctx).client.get(resource("claims", named["bucket"], named["value"])), of(ctx).output)


@app.command("list")
def list_claims(
    ctx: typer.Context,
    bucket: Annotated[str | None, typer.Option()] = None,
    cell: Annotated[str | None, typer.Option()] = None,
    prefix: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most this many")] = 100,
) -> None:
    """List claims in key order."""
    filters = {"bucket": bucket, "cell": cell, "prefix": prefix}
    items, more = of(ctx).client.items("/v1/claims", limit, **filters)
    rows = [(c["bucket"], c["value"], c["cell"], c["subject"], c["revision"]) for c in items]
    table = table_of(("BUCKET", "VALUE", "CELL", "SUBJECT", "REVISION"), rows)
    show(items, of(ctx).output, table)
    if more:
        messages.print(f"there are more; raise --limit (now {limit})")


@app.command("claim")
def claim(ctx: typer.Context, cell: str, keys: Keys) -> None:
    """Claim values for a cell: all of them or none."""
    body = {"claims": [{**_key(text), "cell": cell} for text in keys]}
    answer = of(ctx).client.call("POST", "/v1/claims", body=body, params=of(ctx).write_params())
    _done(ctx, answer.json(), "claimed")


@app.command("release")
def release(
    ctx: typer.Context,
    keys: Keys,
    cell: Annotated[str | None, typer.Option(help="only if this cell owns them")] = None,
) -> None:
    """Release values: all of them or none."""
    of(ctx).confirm(f"release {len(keys)} claims?")
    body = {"claims": [_key(text) for text in keys], "cell": cell}
    params = of(ctx).write_params()
    answer = of(ctx).client.call("POST", "/v1/claims/release", body=body, params=params)
    _done(ctx, answer.json(), "released")


def _done(ctx: typer.Context, answer: dict[str, Any], verb: str) -> None:
    dry = answer.get("dry_run")
    messages.print(f"{'would be ' if dry else ''}{verb}, revision {answer['revision']}")
    rows = [(c["bucket"], c["value"], c["cell"]) for c in answer["claims"]]
    show(answer, of(ctx).output, table_of(("BUCKET", "VALUE", "CELL"), rows))
