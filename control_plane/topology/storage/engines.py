"""Opens databases by URL, and keeps their schema up to date."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from control_plane.topology.storage.dialect import Dialect, dialect_of
from control_plane.topology.storage.driver_errors import translated_errors
from control_plane.topology.storage.sqlite import SqliteDialect
from control_plane.topology.values.errors import Invalid, Problem, Refused

_LIBPQ = {
    "connect_timeout": "5",  # s
    # A machine that is gone says nothing. Without these the kernel waits for it a quarter of an
    # hour if something was sent, else for ever.
    "keepalives_idle": "10",  # s
    "keepalives_interval": "5",  # s
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",  # ms
}
"""Options of each connection to PostgreSQL, unless the URL says otherwise."""


def dialect_for(url: str) -> Dialect:
    """Return the dialect of the database at a URL.

    Raises:
        Invalid: neither SQLite nor PostgreSQL, or PostgreSQL without its driver.
    """
    parsed = parse_url(url)
    return SqliteDialect(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)


def _postgresql(url: URL) -> Dialect:
    # psycopg is an extra: a control plane on SQLite does without.
    try:
        from control_plane.topology.storage.postgresql import PostgresqlDialect
    except ImportError as error:
        hint = 'pip install "cellway[postgresql]"'
        what = f"the driver of PostgreSQL can't be used: {error}"
        raise Invalid(Problem("database_url", what, hint)) from error
    return PostgresqlDialect(url)


def parse_url(url: str) -> URL:
    """Return a database URL as SQLAlchemy takes it; ``postgresql://`` means psycopg.

    For PostgreSQL its query gets the options for libpq that the URL left out, so that a connection
    to a machine that is gone fails within half a minute.

    Raises:
        Invalid: neither SQLite nor PostgreSQL.
    """
    hint = "use sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Invalid(Problem("database_url", f"{url!r} is no URL", hint)) from error
    if parsed.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
        return parsed.update_query_dict({**_LIBPQ, **parsed.query})
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise Invalid(Problem("database_url", f"no driver for {parsed.drivername!r}", hint))
    return parsed


def migrate(engine: Engine) -> None:
    """Bring the schema up to date; make the database first, if it is a file that isn't there.

    Several processes may do so at once: one migrates, and the others wait for it.

    Raises:
        Refused: the schema is newer than this program.
    """
    dialect = dialect_of(engine)
    dialect.make()
    if not pending_migrations(engine):
        return
    config = _alembic()
    config.attributes["engine"] = engine
    with translated_errors:
        command.upgrade(config, "head")


def pending_migrations(engine: Engine) -> tuple[str, ...]:
    """Return the ids of the migrations that this database lacks, oldest first.

    Raises:
        Refused: the schema is newer than this program.
    """
    script = ScriptDirectory.from_config(_alembic())
    current = schema_revision(engine)
    newest, known = newest_schema()
    if current is not None and current not in known:
        raise newer_schema(engine.url.render_as_string(), current, newest)
    pending = [one.revision for one in script.iterate_revisions("head", current or "base")]
    return tuple(reversed(pending))


def newest_schema() -> tuple[str, frozenset[str]]:
    """Return the id of this program's newest migration, and the ids of all."""
    script = ScriptDirectory.from_config(_alembic())
    known = [one.revision for one in script.walk_revisions()]
    return known[0], frozenset(known)


def newer_schema(database: str, found: str, newest: str) -> Refused:
    """Return the error for a database of a newer version of this program."""
    why = (
        f"its schema {found} is of a newer version of cellway (this one knows up to {newest}); "
        "run that version, or restore a backup that this one has made"
    )
    return Refused(f"using {database}", why)


def schema_revision(engine: Engine) -> str | None:
    """Return the id of the database's last migration; None where there is no schema."""
    if not dialect_of(engine).exists():
        return None
    with translated_errors, engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _alembic() -> Config:
    config = Config()
    folder = str(Path(__file__).parents[1] / "migrations")
    # configparser takes a % for the start of a reference.
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config
