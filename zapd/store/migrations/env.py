"""How Alembic runs: always on a connection that `Database.migrate` gives it, inside its transaction."""

from alembic import context

from zapd.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
