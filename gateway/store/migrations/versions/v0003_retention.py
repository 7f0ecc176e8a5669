"""What keeps a blob, so that the rest can be removed.

Sessions and jobs that are there refer to their blobs from now on. Kept results go: what they refer to is in messages
that a migration should not have to read, and all that is lost with them is some work.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Note who refers to what."""
    op.execute("DELETE FROM stage_results")
    with op.batch_alter_table("stage_results") as batch:
        batch.add_column(sa.Column("size", sa.BigInteger, nullable=False))
    op.create_table(
        "result_uses",
        sa.Column("account_id", sa.String(63), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("session_id", sa.String(36), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("result_uses_by_session", "result_uses", ["session_id"])
    references = op.create_table(
        "blob_references",
        sa.Column("account_id", sa.String(63), primary_key=True),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(80), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("blob_references_by_holder", "blob_references", ["holder"])
    columns: tuple[sa.ColumnClause[Any], ...] = (
        sa.column("account_id"),
        sa.column("created_at", sa.DateTime(timezone=True)),
        sa.column("body"),
    )
    for table, key, blobs in (("sessions", "session_id", _of_session), ("jobs", "job_id", _of_job)):
        found = op.get_bind().execute(sa.select(sa.column(key), *columns).select_from(sa.table(table)))
        rows = [
            {"account_id": account, "sha256": sha256, "holder": f"{key[:-3]}:{name}", "created_at": created_at}
            for name, account, created_at, body in found
            for sha256 in sorted(set(blobs(json.loads(body))))
        ]
        op.bulk_insert(references, rows)


def downgrade() -> None:
    """Keep nothing of it."""
    op.drop_table("blob_references")
    op.drop_table("result_uses")
    with op.batch_alter_table("stage_results") as batch:
        batch.drop_column("size")


def _of_session(body: dict[str, Any]) -> Iterator[str]:
    yield body["photo"]["sha256"]


def _of_job(body: dict[str, Any]) -> Iterator[str]:
    if body["options"]["background"]["type"] == "picture":
        yield body["options"]["background"]["sha256"]
    for artifact in body["artifacts"].values():
        yield artifact["sha256"]
