"""``cellway db``: the database itself, whether or not a server uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.client import Failure
from control_plane.cli.context import of
from control_plane.cli.options import DatabaseUrl, DataDir, NewDatabase
from control_plane.cli.output import messages

app = typer.Typer(no_args_is_help=True, help="The database: its schema, backups, old changes.")


@app.command("migrate")
def migrate(
    ctx: typer.Context,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    new_database: NewDatabase = None,
) -> None:
    """Bring the schema up to date; --dry-run lists the migrations that are missing."""
    from control_plane.cli.local import database
    from control_plane.cli.local.settings import settings_of

    settings = settings_of(data_dir=data_dir, database_url=database_url, new_database=new_database)
    dry = of(ctx).dry_run
    pending = database.missing_migrations(settings) if dry else database.migrate(settings)
    verb = "would migrate" if dry else "migrated"
    messages.print(f"{verb}: {', '.join(pending)}" if pending else "nothing to do")
    of(ctx).show_data({"dry_run": dry, "migrations": list(pending)})


@app.command("check")
def check(ctx: typer.Context, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Check the schema and the claims; exit status 1 if something is to be done.

    The schema is to be up to date, and every claim to be one that look-ups find. A claim is not
    found if an older version stored its value in a form that means another value today.
    """
    from control_plane.cli.local import database
    from control_plane.cli.local.settings import settings_of

    settings = settings_of(data_dir=data_dir, database_url=database_url)
    pending = database.missing_migrations(settings)
    stale = [] if pending else database.stale_claims(settings.database_url)
    of(ctx).show_data({"missing": list(pending), "stale_claims": stale})
    if pending:
        raise Failure(f"{database.state_of(settings, pending)}; run cellway db migrate")
    messages.print("the schema is up to date")
    for claim in stale:
        messages.print(_stale_line(claim), markup=False)
    if stale:
        raise Failure(
            f"{len(stale)} claims are found by no look-up; release those that are wrong"
            " (cellway claims release BUCKET:VALUE, as stored), and claim the right ones anew"
        )


def _stale_line(claim: dict[str, Any]) -> str:
    stored = f"{claim['bucket']}:{claim['value']} of {claim['cell']}"
    if claim["normal"] is None:
        return f"{stored} can't be claimed any more"
    others = ", ".join(f"{one['value']} of {one['cell']}" for one in claim["others"])
    return f"{stored} means {claim['normal']} today" + (f", as does {others}" if others else "")


@app.command("backup")
def backup(
    ctx: typer.Context,
    target: Annotated[Path, typer.Argument(help="the backup, a new file")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Copy a SQLite database as of one moment, while it is in use, and check the copy.

    For PostgreSQL use pg_dump, as docs/backup.md says.
    """
    from control_plane.cli.local import database

    revision = database.back_up(database.url_of(data_dir, database_url), target)
    messages.print(f"{target} holds revision {revision}", markup=False)
    of(ctx).show_data({"file": str(target), "revision": revision})


@app.command("restore")
def restore(
    ctx: typer.Context,
    backup: Annotated[Path, typer.Argument(help="a file that db backup has written")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Put a backup in the place of a SQLite database; stop every control plane first."""
    from control_plane.cli.local import database

    url = database.url_of(data_dir, database_url)
    shown = database.without_password(url)
    of(ctx).confirm(f"replace {shown} by {backup}?")
    if of(ctx).dry_run:
        messages.print(f"would replace {shown} by {backup}", markup=False)
        return
    revision = database.restore(url, backup)
    messages.print(f"restored; it goes on from revision {revision}")
    of(ctx).show_data({"file": str(backup), "revision": revision})


@app.command("advance")
def advance(
    ctx: typer.Context,
    above: Annotated[int, typer.Argument(help="the newest revision before the restore, or more")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Go on above a revision, after a restore of PostgreSQL: Envoys refuse older revisions."""
    from control_plane.cli.local import database

    url = database.url_of(data_dir, database_url)
    of(ctx).confirm(f"go on above revision {above}?")
    if of(ctx).dry_run:
        messages.print(f"would go on above revision {above}")
        return
    revision = database.advance(url, above)
    messages.print(f"it goes on from revision {revision}")
    of(ctx).show_data({"revision": revision})


@app.command("prune")
def prune(
    ctx: typer.Context,
    keep_days: Annotated[
        float | None,
        typer.Option(min=0, help="keep changes for so many days; 0: of any age; default: 90"),
    ] = None,
    keep_revisions: Annotated[
        int | None,
        typer.Option(
            min=0, help="keep at most so many revisions; 0: any number; default: 100 million"
        ),
    ] = None,
    archive: Annotated[
        Path | None, typer.Option(help="first append what is forgotten here, as JSON lines")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Forget old changes, and the audit of them, as a server does every ten minutes.

    Options that are not given are those of the server: CELLWAY_CHANGES_KEPT_DAYS,
    CELLWAY_CHANGES_KEPT_REVISIONS, CELLWAY_CHANGES_ARCHIVE. With --dry-run it counts.
    """
    from control_plane.cli.local import retention
    from control_plane.cli.local.settings import settings_of

    settings = settings_of(
        data_dir=data_dir,
        database_url=database_url,
        changes_kept_days=keep_days,
        changes_kept_revisions=keep_revisions,
        changes_archive=archive,
    )
    dry = of(ctx).dry_run
    of(ctx).confirm("forget old changes, and the audit of them, for ever?")
    rows, oldest = retention.prune(settings, dry_run=dry)
    verb = "would forget" if dry else "forgot"
    messages.print(f"{verb} {rows} changes; those up to revision {oldest} are gone")
    of(ctx).show_data({"dry_run": dry, "forgotten": rows, "oldest": oldest})
