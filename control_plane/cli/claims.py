"""``cellway claims``: get, list, claim, subject, release, transfer, release-all."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from control_plane.cli import claims_export, claims_import, leases, operations
from control_plane.cli.client import resource
from control_plane.cli.context import of
from control_plane.cli.options import CellName, Limit, Reason, claim_key
from control_plane.cli.output import messages, say_more, table_of_items

app = typer.Typer(no_args_is_help=True, help="Claims: who owns which name.")
app.command("leases")(leases.list_leases)
app.command("settle")(leases.settle)
app.command("import")(claims_import.import_claims)
app.command("export")(claims_export.export_claims)

_KEY_HELP = "bucket:value, e.g. route:gitlab-org"
Key = Annotated[str, typer.Argument(help=_KEY_HELP)]
Keys = Annotated[list[str], typer.Argument(help=_KEY_HELP)]
_COLUMNS = {"BUCKET": "bucket", "VALUE": "value", "CELL": "cell"}
_SUBJECT_TYPES = frozenset({"organization", "namespace", "project", "user"})


@app.command("get")
def get_claim(ctx: typer.Context, key: Key) -> None:
    """Show which cell owns a value."""
    named = claim_key(key)
    of(ctx).show(of(ctx).client.get(resource("claims", named["bucket"], named["value"])))


@app.command("list")
def list_claims(
    ctx: typer.Context,
    bucket: Annotated[str | None, typer.Option(help="only claims of this bucket")] = None,
    cell: Annotated[str | None, typer.Option(help="only claims of this cell")] = None,
    prefix: Annotated[str | None, typer.Option(help="only values that begin so")] = None,
    limit: Limit = 100,
) -> None:
    """List claims in the order of their keys."""
    filters = {"bucket": bucket, "cell": cell, "prefix": prefix}
    items, more = of(ctx).client.items("/v1/claims", limit, **filters)
    columns = _COLUMNS | {"SUBJECT": "subject", "REVISION": "revision"}
    of(ctx).show(items, table_of_items(columns, items))
    if more:
        say_more(limit)


@app.command("claim")
def claim(
    ctx: typer.Context,
    cell: CellName,
    keys: Keys,
    subject: Annotated[
        str | None, typer.Option(help="whose they are: a move takes all claims of a subject")
    ] = None,
) -> None:
    """Claim values for a cell: all of them or none.

    Example: cellway claims claim c1 route:gitlab-org username:alice --subject acme
    """
    body = {"claims": [{**claim_key(text), "cell": cell, "subject": subject} for text in keys]}
    _show_claims(ctx, of(ctx).write("POST", "/v1/claims", body), "claimed")


@app.command("subject")
def set_subject(
    ctx: typer.Context,
    subject: Annotated[str, typer.Argument(help="whose they are, e.g. acme")],
    keys: Keys,
) -> None:
    """Give claims that have no subject one, so that a move can take them together.

    Example: cellway claims subject acme route:acme username:alice
    """
    body = {"claims": [claim_key(text) for text in keys], "subject": subject}
    _show_claims(ctx, of(ctx).write("POST", "/v1/claims/subject", body), "named")


@app.command("release")
def release(
    ctx: typer.Context,
    keys: Keys,
    cell: Annotated[str | None, typer.Option(help="only if this cell owns them")] = None,
) -> None:
    """Release values, so that any cell may claim them: all of them or none."""
    of(ctx).confirm(f"release {len(keys)} claims?")
    body = {"claims": [claim_key(text) for text in keys], "cell": cell}
    _show_claims(ctx, of(ctx).write("POST", "/v1/claims/release", body), "released")


def _show_claims(ctx: typer.Context, answer: dict[str, Any], verb: str) -> None:
    dry = answer.get("dry_run")
    messages.print(f"{'would be ' if dry else ''}{verb}, revision {answer['revision']}")
    of(ctx).show(answer, table_of_items(_COLUMNS, answer["claims"]))


@app.command("transfer")
def transfer(
    ctx: typer.Context,
    subject: Annotated[
        str,
        typer.Argument(
            help="project:42 (or organization:…, namespace:…, user:…), or the subject's text"
        ),
    ],
    source: Annotated[str, typer.Option("--from", help="the cell that has its claims")],
    target: Annotated[str, typer.Option("--to", help="the cell that gets them")],
    reason: Reason,
) -> None:
    """Move all claims of a subject, such as a project, to another cell in one step.

    Example: cellway claims transfer project:42 --from c1 --to c2 --reason "ticket 7" --wait
    """
    of(ctx).confirm(f"move all claims of {subject} from {source} to {target}?")
    body = {"subject": subject_of(subject), "source": source, "target": target, "reason": reason}
    answer = of(ctx).write("POST", "/v1/claims/transfer", body)
    verb = "would move" if answer.get("dry_run") else f"revision {answer['revision']}: moved"
    messages.print(f"{verb} {answer['moved']} claims")
    of(ctx).show(answer)


def subject_of(text: str) -> dict[str, Any]:
    """Read ``project:42`` as a type and an id, everything else as text."""
    kind, colon, number = text.partition(":")
    if colon and kind in _SUBJECT_TYPES and number.isascii() and number.isdigit():
        return {"type": kind, "id": int(number)}
    return {"text": text}


@app.command("release-all")
def release_all(ctx: typer.Context, cell: CellName, reason: Reason) -> None:
    """Free all claims of a retired cell, step by step; if it breaks off, start it again."""
    of(ctx).confirm(f"release all claims of {cell}?")
    path = resource("cells", cell, "release-claims")
    operations.wait_for(ctx, of(ctx).write("POST", path, {"reason": reason}))
