"""Jobs that outlive their gateway, keys, credits, webhooks."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from gateway.store.migrations.versions.v0001_jobs import create_jobs as create_old_jobs

revision = "0002"
down_revision = "0001"

_APPEND_ONLY = ("ledger_transactions", "ledger_entries")


def upgrade() -> None:
    """Keep all that was, and add what is new.

    A job that was open goes on: nothing was held for it, and nothing will be charged.
    """
    op.create_index("sessions_by_expiry", "sessions", ["expires_at"])
    old = [_converted(row) for row in op.get_bind().execute(sa.text("SELECT * FROM jobs")).mappings()]
    op.drop_table("jobs")
    new = _create_jobs()
    op.bulk_insert(new, old)
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('jobs', 'number'), coalesce(max(number), 0) + 1, false) FROM jobs"
        )
    op.add_column("stage_results", _when("used_at", nullable=True))
    op.execute("UPDATE stage_results SET used_at = created_at")
    with op.batch_alter_table("stage_results") as batch:
        batch.alter_column("used_at", nullable=False)
    op.create_index("stage_results_by_use", "stage_results", ["used_at"])
    _create_accounts()
    _create_ledger()
    _create_operations()
    _forbid_changes()


def downgrade() -> None:
    """Keep sessions, jobs and results; keys, credits and webhooks are lost."""
    for table in (
        "deliveries",
        "webhook_secrets",
        "executors",
        "balances",
        "ledger_entries",
        "ledger_transactions",
        "idempotency_keys",
        "api_keys",
    ):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION append_only")
    op.drop_index("stage_results_by_use", "stage_results")
    with op.batch_alter_table("stage_results") as batch:
        batch.drop_column("used_at")
    columns = "job_id, account_id, status, body, number, created_at"
    op.execute(f"CREATE TEMPORARY TABLE kept AS SELECT {columns} FROM jobs")  # noqa: S608
    op.drop_table("jobs")
    create_old_jobs()
    op.execute(f"INSERT INTO jobs ({columns}) SELECT {columns} FROM kept")  # noqa: S608
    op.execute("DROP TABLE kept")
    if op.get_context().dialect.name == "sqlite":  # all that release 0.1 knew; it refuses jobs with other options
        op.execute("UPDATE jobs SET body = json_remove(body, '$.options.webhook_url')")
    op.drop_index("sessions_by_expiry", "sessions")


def _converted(row: Any) -> dict[str, Any]:
    body = json.loads(row["body"])
    return {
        **row,
        "session_id": body["options"]["session_id"],
        "workflow_id": row["job_id"],
        "created_at": datetime.fromisoformat(body["created_at"]),
        "ended_at": body["ended_at"] and datetime.fromisoformat(body["ended_at"]),
    }


def _when(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _account(*, primary_key: bool = False) -> sa.Column[Any]:
    return sa.Column("account_id", sa.String(63), nullable=False, primary_key=primary_key)


def _create_jobs() -> sa.Table:
    table = op.create_table(
        "jobs",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("job_id", sa.String(36), nullable=False, unique=True),
        _account(),
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("workflow_id", sa.String(64), nullable=False),
        sa.Column("runs", sa.Integer, nullable=False, server_default="1"),
        sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
        _when("created_at"),
        _when("ended_at", nullable=True),
    )
    op.create_index("jobs_by_account", "jobs", ["account_id", "number"])
    op.create_index("jobs_by_status", "jobs", ["status"])
    return table


def _create_accounts() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(16), primary_key=True),
        _account(),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("label", sa.String(255), nullable=False, server_default=""),
        _when("created_at"),
        _when("revoked_at", nullable=True),
    )
    op.create_index("api_keys_by_account", "api_keys", ["account_id"])
    op.create_table(
        "idempotency_keys",
        _account(primary_key=True),
        sa.Column("call", sa.String(16), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("resource_id", sa.String(36), nullable=False),
        _when("created_at"),
    )
    op.create_table(
        "webhook_secrets",
        _account(primary_key=True),
        sa.Column("secret", sa.String(64), nullable=False),
        _when("created_at"),
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger_transactions",
        sa.Column("transaction_id", sa.String(80), primary_key=True),
        _account(),
        sa.Column("kind", sa.String(16), nullable=False),
        _when("created_at"),
    )
    op.create_index("ledger_transactions_by_account", "ledger_transactions", ["account_id", "created_at"])
    op.create_table(
        "ledger_entries",
        sa.Column(
            "transaction_id", sa.String(80), sa.ForeignKey("ledger_transactions.transaction_id"), primary_key=True
        ),
        sa.Column("book", sa.String(16), primary_key=True),
        _account(),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )
    op.create_index("ledger_entries_by_account", "ledger_entries", ["account_id"])
    op.create_table(
        "balances",
        _account(primary_key=True),
        sa.Column("available", sa.BigInteger, sa.CheckConstraint("available >= 0"), nullable=False),
        sa.Column("held", sa.BigInteger, sa.CheckConstraint("held >= 0"), nullable=False),
        sa.Column("earned", sa.BigInteger, sa.CheckConstraint("earned >= 0"), nullable=False),
        sa.Column("issued", sa.BigInteger, sa.CheckConstraint("issued <= 0"), nullable=False),
        sa.CheckConstraint("available + held + earned + issued = 0"),
    )


def _create_operations() -> None:
    op.create_table("executors", sa.Column("executor_id", sa.String(64), primary_key=True), _when("expires_at"))
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.String(36), primary_key=True),
        _account(),
        sa.Column("job_id", sa.String(36), nullable=False, unique=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("delivered", sa.Boolean, nullable=False, server_default="0"),
        _when("next_at", nullable=True),
        sa.Column("error", sa.Text, nullable=False, server_default=""),
    )
    op.create_index("deliveries_by_time", "deliveries", ["next_at"])


def _forbid_changes() -> None:
    """Let nobody change or delete what was booked."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
        for table in _APPEND_ONLY:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION append_only()"
            )
        return
    for table in _APPEND_ONLY:
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
