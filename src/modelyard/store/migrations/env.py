"""Runs migrations on the connection that `Database.migrate` opened, inside its transaction."""

from alembic import context

from modelyard.store import rows

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=rows.WorkspaceRow.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
