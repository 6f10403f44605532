"""Work on the database itself, whether or not a server uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from control_plane.cli.client import Exit, Failure
from control_plane.cli.interrupts import interruptible
from control_plane.cli.local.settings import settings_of
from control_plane.process.private_files import only_private_files
from control_plane.settings import Settings
from control_plane.topology import MigrationsPending, Reject, Topology
from control_plane.topology.maintenance import backup
from control_plane.topology.maintenance import restore as restoring
from control_plane.topology.storage import dialect_of, spellings
from control_plane.topology.storage.engines import migrate as migrate_schema
from control_plane.topology.storage.engines import pending_migrations
from control_plane.topology.storage.first_start import refuse_anew
from control_plane.topology.storage.mark_file import MarkFile
from control_plane.topology.storage.store import Store
from control_plane.topology.values.errors import (
    AlreadyExists,
    DatabaseFailed,
    Invalid,
    NotFound,
    Refused,
    TopologyError,
    Unavailable,
)

_STATUS: dict[type[TopologyError], Exit] = {
    Invalid: Exit.USAGE,
    NotFound: Exit.NOT_FOUND,
    AlreadyExists: Exit.CONFLICT,
    Refused: Exit.REFUSED,
}
"""The exit status of the topology's errors; that of all others is `Exit.ERROR`."""


@contextlib.contextmanager
def topology_failures(url: str | None = None) -> Iterator[None]:
    """Raise the topology's errors as failures of a command, in their own words.

    Args:
        url: the database, which is named where it is what has failed.
    """
    try:
        yield
    except TopologyError as error:
        raise failure_of(error, url) from error


def failure_of(error: TopologyError, url: str | None) -> Failure:
    """Return an error of the topology as a failure."""
    text = " ".join(str(error).split())
    if url is not None and isinstance(error, DatabaseFailed | MigrationsPending | Unavailable):
        text += f"; the database is {without_password(url)} (--database-url, CELLWAY_DATABASE_URL)"
    statuses = [status for kind, status in _STATUS.items() if isinstance(error, kind)]
    return Failure(text, *statuses[:1])


def url_of(data_dir: Path | None, database_url: str | None) -> str:
    """Return the database that options name, or if they are None, the settings."""
    return settings_of(data_dir=data_dir, database_url=database_url).database_url


def state_of(settings: Settings, missing: Sequence[str]) -> str:
    """Return what a database lacks: the migrations that are missing, or all of it."""
    with contextlib.closing(_store(settings)) as store:
        if not dialect_of(store.engine).exists():
            return f"there is no database {without_password(settings.database_url)}"
    return f"not migrated: {', '.join(missing)}"


def without_password(url: str) -> str:
    """Return a database's URL as people may see it."""
    return make_url(url).render_as_string(hide_password=True)


def migrate(settings: Settings) -> tuple[str, ...]:
    """Bring a schema up to date; return the migrations that were missing."""
    with (
        topology_failures(settings.database_url),
        only_private_files(),
        contextlib.closing(_store(settings)) as store,
    ):
        if not settings.new_database:
            refuse_anew(store)
        pending = pending_migrations(store.engine)
        migrate_schema(store.engine)
        return pending


def missing_migrations(settings: Settings) -> tuple[str, ...]:
    """Return the migrations that a schema lacks; all of them if there is no database yet."""
    with topology_failures(settings.database_url), contextlib.closing(_store(settings)) as store:
        if not settings.new_database:
            refuse_anew(store)
        return pending_migrations(store.engine)


def _store(settings: Settings) -> Store:
    return Store(settings.database_url, MarkFile(settings.mark_file))


def stale_claims(url: str) -> list[dict[str, Any]]:
    """Return the claims that no look-up finds (see `storage.spellings`)."""
    with (
        topology_failures(url),
        contextlib.closing(Store(url)) as store,
        store.read() as connection,
    ):
        return [claim.as_dict() for claim in spellings.stale_claims(connection)]


def back_up(url: str, target: Path) -> int:
    """Copy a SQLite database; return the revision that the copy holds."""
    with interruptible(), topology_failures(url), only_private_files():
        return backup.back_up(url, target)


def restore(url: str, file: Path) -> int:
    """Put a copy in the place of a SQLite database; return the revision that it goes on from."""
    with interruptible(), topology_failures(url), only_private_files():
        return restoring.restore(url, file)


def advance(url: str, above: int) -> int:
    """Take a revision above another, and return it."""
    with topology_failures(url), contextlib.closing(Store(url)) as store:
        if pending := pending_migrations(store.engine):
            shown = without_password(url)
            raise Failure(f"{shown} lacks {', '.join(pending)}; run cellway db migrate")
        return backup.advance(store, above)


@contextlib.contextmanager
def importing(
    url: str, *, actor: str, dry_run: bool
) -> Iterator[Callable[[list[str], int], dict[str, Any]]]:
    """Yield a function that claims lines of an import straight in a database.

    It takes the lines and the number of the first one, and answers as ``POST /v1/claims/import``
    does.
    """
    with topology_failures(url):
        topology = Topology.open(url, migrate_first=False)

    def claim(lines: list[str], first: int) -> dict[str, Any]:
        rejects: list[Reject] = []
        with topology_failures(url):
            done = topology.bulk.import_(
                lines,
                actor=actor,
                reject=rejects.append,
                progress=lambda _: None,
                dry_run=dry_run,
            )
        numbered = [{**one.as_dict(), "line": one.line + first - 1} for one in rejects]
        return {"created": done.created, "present": done.present, "rejects": numbered}

    with contextlib.closing(topology):
        yield claim
