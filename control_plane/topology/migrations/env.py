"""Runs migrations over the engine that the program already has."""

from alembic import context
from sqlalchemy import text

from control_plane.topology.storage.schema import metadata

LOCK = 0x63656C6C776179
"""PostgreSQL's advisory lock for migrations: of several that start at once, one migrates."""

engine = context.config.attributes["engine"]
postgresql = engine.dialect.name == "postgresql"
if postgresql:
    engine = engine.execution_options(isolation_level="READ COMMITTED")
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        if postgresql:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()
