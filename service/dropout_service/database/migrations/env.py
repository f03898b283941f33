"""How Alembic runs the migrations: always on the transaction that `database.migrate` has opened."""

from __future__ import annotations

from alembic import context

from dropout_service.database.metadata import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
