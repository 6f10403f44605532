"""``cellway up``, ``serve``, ``envoy bootstrap`` and ``db``: what runs here instead of calling.

What they need is imported when they run: the other commands should start fast.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from control_plane.cli.client import Exit, Failure
from control_plane.cli.context import of
from control_plane.cli.output import Format, messages, show
from control_plane.settings import Settings
from control_plane.xds.node import NODE_NAME

envoy = typer.Typer(no_args_is_help=True, help="Envoys that join the fleet.")
db = typer.Typer(no_args_is_help=True, help="The database: its schema, and backups.")
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="0: any free one")]
TlsFile = Annotated[Path | None, typer.Option(help="PEM file on the Envoy's machine")]
RedisUrl = Annotated[str | None, typer.Option(help="redis://…: classifiers share look-ups")]
DatabaseUrl = Annotated[str | None, typer.Option(help="sqlite:///… or postgresql://…")]


def settings_of(**given: Any) -> Settings:
    """Settings from flags (None: not given), environment and cellway.toml."""
    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise Failure("the configuration is wrong\n  " + "\n  ".join(lines), Exit.USAGE) from error


def start_logging() -> None:
    """Log to standard error, as a server does."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for noisy in ("alembic", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def serve_command(
    roles: Annotated[str | None, typer.Option(help="api,xds,classifier,topology")] = None,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    host: Annotated[str | None, typer.Option(help="where to listen")] = None,
    api_port: Port = None,
    grpc_port: Port = None,
    classifier_port: Port = None,
    classifier_workers: Annotated[int | None, typer.Option(min=0, max=64)] = None,
    classifier_protocol: Annotated[str | None, typer.Option(help="http or grpc")] = None,
    edge_port: Port = None,
    force_shrink: Annotated[bool | None, typer.Option(help="publish a shrunk fleet")] = None,
) -> None:
    """Run the control plane (without an Envoy)."""
    start_logging()
    settings = settings_of(
        roles=tuple(roles.split(",")) if roles else None,
        database_url=database_url,
        redis_url=redis_url,
        host=host,
        api_port=api_port,
        grpc_port=grpc_port,
        classifier_port=classifier_port,
        classifier_workers=classifier_workers,
        classifier_protocol=classifier_protocol,
        edge_port=edge_port,
        force_shrink=force_shrink,
    )
    from control_plane.cli import local

    local.serve_here(settings)


def up_command(
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    edge_port: Port = None,
    envoy_admin_port: Port = None,
    api_port: Port = None,
    grpc_port: Port = None,
    classifier_port: Port = None,
    classifier_workers: Annotated[int | None, typer.Option(min=0, max=64)] = None,
    classifier_protocol: Annotated[str | None, typer.Option(help="http or grpc")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="database and Envoy's files")] = None,
) -> None:
    """Run everything on this machine, Envoy included."""
    start_logging()
    settings = settings_of(
        database_url=database_url,
        redis_url=redis_url,
        edge_port=edge_port,
        envoy_admin_port=envoy_admin_port,
        api_port=api_port,
        grpc_port=grpc_port,
        classifier_port=classifier_port,
        classifier_workers=classifier_workers,
        classifier_protocol=classifier_protocol,
        data_dir=data_dir,
    )
    from control_plane.cli import local

    local.up_here(settings)


@envoy.command("bootstrap")
def envoy_bootstrap(
    ctx: typer.Context,
    node_id: Annotated[str, typer.Option(help="unique in the fleet")],
    group: Annotated[str, typer.Option(help="node cluster")] = "edge",
    xds: Annotated[str, typer.Option(help="host:port of the control plane")] = "127.0.0.1:18000",
    admin_port: Annotated[int, typer.Option(min=0, max=65535)] = 9901,
    sotw: Annotated[bool, typer.Option(help="state of the world instead of delta")] = False,
    tls_certificate: TlsFile = None,
    tls_key: TlsFile = None,
    tls_ca: TlsFile = None,
    tls_server_name: Annotated[str | None, typer.Option(help="default: the host of --xds")] = None,
) -> None:
    """Print a bootstrap for a fleet member (JSON)."""
    host, colon, port = xds.rpartition(":")
    if not NODE_NAME.match(node_id) or not NODE_NAME.match(group):
        mend = "1 to 256 visible ASCII characters"
        raise Failure(f"--node-id {node_id!r} or --group {group!r} is no name: {mend}", Exit.USAGE)
    if not colon or not port.isdigit():
        raise Failure(f"--xds {xds!r} is not host:port", Exit.USAGE)
    files = (tls_certificate, tls_key, tls_ca)
    if any(files) and not all(files):
        raise Failure("--tls-certificate, --tls-key and --tls-ca belong together", Exit.USAGE)
    from control_plane.cli import local

    tls = local.member_tls(files, tls_server_name or host)
    text = local.bootstrap(node_id, group, host, int(port), admin_port, sotw=sotw, tls=tls)
    if of(ctx).output is Format.YAML:
        show(json.loads(text), Format.YAML)
    else:
        print(text)


@db.command("migrate")
def db_migrate(ctx: typer.Context, database_url: DatabaseUrl = None) -> None:
    """Bring the schema up to date."""
    from control_plane.cli import local

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
    from control_plane.cli import local

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
    from control_plane.cli import local

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
    from control_plane.cli import local

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
    from control_plane.cli import local

    url = settings_of(database_url=database_url).database_url
    of(ctx).confirm(f"go on above revision {above}?")
    if of(ctx).dry_run:
        messages.print(f"would go on above revision {above}")
        return
    revision = local.advance_database(url, above)
    messages.print(f"it goes on from revision {revision}")
    if of(ctx).output is not Format.TABLE:
        show({"revision": revision}, of(ctx).output)
