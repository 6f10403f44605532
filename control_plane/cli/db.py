"""``cellway db``: the database itself, whether or not a server uses it.

What they need is imported when they run: the other commands should start fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli.client import Failure
from control_plane.cli.context import of
from control_plane.cli.output import Format, messages, show
from control_plane.cli.serve import DatabaseUrl, settings_of

db = typer.Typer(no_args_is_help=True, help="The database: its schema, backups, old changes.")


@db.command("migrate")
def db_migrate(ctx: typer.Context, database_url: DatabaseUrl = None) -> None:
    """Bring the schema up to date."""
    from control_plane.cli.local import system as local

    url = settings_of(database_url=database_url).database_url
    dry = of(ctx).dry_run
    pending = local.missing_migrations(url) if dry else local.migrate_database(url)
    verb = "would migrate" if dry else "migrated"
    messages.print(f"{verb}: {', '.join(pending)}" if pending else "nothing to do")
    if of(ctx).output is not Format.TABLE:
        show({"dry_run": dry, "migrations": list(pending)}, of(ctx).output)


@db.command("check")
def db_check(ctx: typer.Context, database_url: DatabaseUrl = None) -> None:
    """Exit status 1 if the schema needs migrating."""
    from control_plane.cli.local import system as local

    pending = local.missing_migrations(settings_of(database_url=database_url).database_url)
    if of(ctx).output is not Format.TABLE:
        show({"missing": list(pending)}, of(ctx).output)
    if pending:
        raise Failure(f"not migrated: {', '.join(pending)}; run cellway db migrate")
    messages.print("the schema is up to date")


@db.command("backup")
def db_backup(
    ctx: typer.Context,
    target: Annotated[Path, typer.Argument(help="a new file")],
    database_url: DatabaseUrl = None,
) -> None:
    """Copy a SQLite database as of one moment, while it is in use, and check the copy."""
    from control_plane.cli.local import system as local

    url = settings_of(database_url=database_url).database_url
    revision = local.back_up_database(url, target)
    messages.print(f"{target} holds revision {revision}", markup=False)
    if of(ctx).output is not Format.TABLE:
        show({"file": str(target), "revision": revision}, of(ctx).output)


@db.command("restore")
def db_restore(
    ctx: typer.Context,
    backup: Annotated[Path, typer.Argument(help="what db backup wrote")],
    database_url: DatabaseUrl = None,
) -> None:
    """Put a backup in the database's place; stop every control plane first."""
    from sqlalchemy.engine import make_url

    from control_plane.cli.local import system as local

    url = settings_of(database_url=database_url).database_url
    shown = make_url(url).render_as_string(hide_password=True)
    of(ctx).confirm(f"replace {shown} by {backup}?")
    if of(ctx).dry_run:
        messages.print(f"would replace {shown} by {backup}", markup=False)
        return
    revision = local.restore_database(url, backup)
    messages.print(f"restored; it goes on from revision {revision}")
    if of(ctx).output is not Format.TABLE:
        show({"file": str(backup), "revision": revision}, of(ctx).output)


@db.command("advance")
def db_advance(ctx: typer.Context, above: int, database_url: DatabaseUrl = None) -> None:
    """After a restore of PostgreSQL: take a revision above one that the fleet has seen."""
    from control_plane.cli.local import system as local

    url = settings_of(database_url=database_url).database_url
    of(ctx).confirm(f"go on above revision {above}?")
    if of(ctx).dry_run:
        messages.print(f"would go on above revision {above}")
        return
    revision = local.advance_database(url, above)
    messages.print(f"it goes on from revision {revision}")
    if of(ctx).output is not Format.TABLE:
        show({"revision": revision}, of(ctx).output)


@db.command("prune")
def db_prune(
    ctx: typer.Context,
    keep_days: Annotated[float | None, typer.Option(min=0, help="0: of any age")] = None,
    keep_revisions: Annotated[int | None, typer.Option(min=0, help="0: any number")] = None,
    archive: Annotated[Path | None, typer.Option(help="append what goes, as JSON lines")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Forget old changes (and the audit of them) now, as a server does every ten minutes."""
    from control_plane.cli.local import system as local

    settings = settings_of(
        database_url=database_url,
        changes_kept_days=keep_days,
        changes_kept_revisions=keep_revisions,
        changes_archive=archive,
    )
    dry = of(ctx).dry_run
    of(ctx).confirm("forget old changes, and the audit of them, for ever?")
    rows, oldest = local.prune_database(settings, dry_run=dry)
    verb = "would forget" if dry else "forgot"
    messages.print(f"{verb} {rows} changes; those up to revision {oldest} are gone")
    if of(ctx).output is not Format.TABLE:
        show({"dry_run": dry, "forgotten": rows, "oldest": oldest}, of(ctx).output)
