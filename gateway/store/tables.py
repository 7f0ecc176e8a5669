"""The tables, portable between SQLite and Postgres. Every one has ``account_id``."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()


def _when(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


sessions = Table(
    "sessions",
    metadata,
    Column("session_id", String(36), primary_key=True),
    Column("account_id", String(63), nullable=False),
    Column("body", Text, nullable=False),
    _when("created_at"),
    _when("expires_at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(36), primary_key=True),
    Column("account_id", String(63), nullable=False),
    Column("status", String(16), nullable=False),
    Column("body", Text, nullable=False),
    Column("number", BigInteger().with_variant(Integer, "sqlite"), nullable=False, unique=True),
    _when("created_at"),
    Index("jobs_by_account", "account_id", "number"),
    Index("jobs_by_status", "status"),
)

job_events = Table(
    "job_events",
    metadata,
    Column("job_id", String(36), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("account_id", String(63), nullable=False),
    Column("body", Text, nullable=False),
)

stage_results = Table(
    "stage_results",
    metadata,
    Column("account_id", String(63), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("fingerprint", String(255), nullable=False),
    Column("result", LargeBinary, nullable=False),
    _when("created_at"),
)
