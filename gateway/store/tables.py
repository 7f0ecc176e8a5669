"""The tables, portable between SQLite and Postgres. Every one that holds something of an account names it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

metadata = MetaData()


class Utc(TypeDecorator[datetime]):
    """A time in UTC; SQLite stores no zone, so it is put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Into the database."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Out of the database."""
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


def _when(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, Utc, nullable=nullable)


def _account(*, primary_key: bool = False) -> Column[str]:
    return Column("account_id", String(63), nullable=False, primary_key=primary_key)


api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(16), primary_key=True),
    _account(),
    Column("secret_sha256", String(64), nullable=False),
    Column("label", String(255), nullable=False, server_default=""),
    _when("created_at"),
    _when("revoked_at", nullable=True),
    Index("api_keys_by_account", "account_id"),
)
"""Who may call. The secret itself is shown once and stored nowhere."""

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", String(36), primary_key=True),
    _account(),
    Column("body", Text, nullable=False),
    _when("created_at"),
    _when("expires_at"),
    Index("sessions_by_expiry", "expires_at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("job_id", String(36), nullable=False, unique=True),
    _account(),
    Column("session_id", String(36), nullable=False),
    Column("status", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("workflow_id", String(64), nullable=False),
    Column("runs", Integer, nullable=False, server_default="1"),
    Column("epoch", Integer, nullable=False, server_default="0"),
    _when("created_at"),
    _when("ended_at", nullable=True),
    Index("jobs_by_account", "account_id", "number"),
    Index("jobs_by_status", "status"),
)
"""``workflow_id`` is the run that may work on the job, ``runs`` how many there were; whoever takes the job raises
``epoch``, and only who holds the present one writes."""

job_events = Table(
    "job_events",
    metadata,
    Column("job_id", String(36), primary_key=True),
    Column("seq", Integer, primary_key=True),
    _account(),
    Column("body", Text, nullable=False),
)

stage_results = Table(
    "stage_results",
    metadata,
    _account(primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("fingerprint", String(255), nullable=False),
    Column("result", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    _when("created_at"),
    _when("used_at"),
    Index("stage_results_by_use", "used_at"),
)
"""``size`` counts the bytes of the result's blobs, too."""

result_uses = Table(
    "result_uses",
    metadata,
    _account(primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("session_id", String(36), primary_key=True),
    _when("created_at"),
    Index("result_uses_by_session", "session_id"),
)
"""Sessions whose work made a kept result or used it; with the last of them it goes."""

stage_claims = Table(
    "stage_claims",
    metadata,
    _account(primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("executor_id", String(64), nullable=False),
    _when("created_at"),
)
"""Stages that a replica makes, or is about to; a claim counts for as long as its replica's lease runs."""

blob_references = Table(
    "blob_references",
    metadata,
    _account(primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("holder", String(80), primary_key=True),
    _when("created_at"),
    Index("blob_references_by_holder", "holder"),
)
"""Who needs a blob; see ``gateway.store.references``."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _account(primary_key=True),
    Column("call", String(16), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_sha256", String(64), nullable=False),
    Column("resource_id", String(36), nullable=False),
    _when("created_at"),
)
"""What a call with this key made."""

ledger_transactions = Table(
    "ledger_transactions",
    metadata,
    Column("transaction_id", String(80), primary_key=True),
    _account(),
    Column("kind", String(16), nullable=False),
    _when("created_at"),
    Index("ledger_transactions_by_account", "account_id", "created_at"),
)
"""One thing that happened to an account's credits; its id says what, so that it cannot happen twice."""

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column(
        "transaction_id", String(80), ForeignKey("ledger_transactions.transaction_id"), primary_key=True, nullable=False
    ),
    Column("book", String(16), primary_key=True),
    _account(),
    Column("amount", BigInteger, nullable=False),
    Index("ledger_entries_by_account", "account_id"),
)
"""Both sides of a transaction; they sum to zero. Rows are never changed or deleted: triggers see to it."""

balances = Table(
    "balances",
    metadata,
    _account(primary_key=True),
    Column("available", BigInteger, CheckConstraint("available >= 0"), nullable=False),
    Column("held", BigInteger, CheckConstraint("held >= 0"), nullable=False),
    Column("earned", BigInteger, CheckConstraint("earned >= 0"), nullable=False),
    Column("issued", BigInteger, CheckConstraint("issued <= 0"), nullable=False),
    CheckConstraint("available + held + earned + issued = 0"),
)
"""The sum of each of an account's books, kept up with every transaction."""

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    _account(primary_key=True),
    Column("secret", String(64), nullable=False),
    _when("created_at"),
)
"""What an account's webhooks are signed with. Kept as it is: who signs must have it."""

executors = Table(
    "executors",
    metadata,
    Column("executor_id", String(64), primary_key=True),
    _when("expires_at"),
)
"""Replicas, each with the lease that it renews while it lives."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", String(36), primary_key=True),
    _account(),
    Column("job_id", String(36), nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("delivered", Boolean, nullable=False, server_default="0"),
    _when("next_at", nullable=True),
    Column("error", Text, nullable=False, server_default=""),
    Index("deliveries_by_time", "next_at"),
)
"""Webhooks to send; ``next_at`` is null once nothing more will be tried."""
