"""Runs migrations over the engine that the program already has."""

from alembic import context

from control_plane.topology.storage import dialect_of, schema

engine = context.config.attributes["engine"]
dialect = dialect_of(engine)
with dialect.for_migrations(engine).connect() as connection:
    # All migrations are one transaction, on both databases: a broken-off one leaves nothing.
    context.configure(
        connection=connection,
        target_metadata=schema.metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        dialect.lock_migrations(connection)
        context.run_migrations()
