"""What alembic runs for every command: the migrations, inside the transaction that the caller began."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
