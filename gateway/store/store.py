"""Reading and writing the tables: whole values in, whole values out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import event, func, select, update
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.model import Job, JobEvent, JobStatus, Session
from gateway.store.tables import job_events, jobs, metadata, sessions, stage_results

Value = TypeVar("Value")

_SESSION, _JOB, _EVENT = TypeAdapter(Session), TypeAdapter(Job), TypeAdapter(JobEvent)


class Store:
    """The gateway's database.

    Args:
        engine: an async SQLAlchemy engine; ``Store.sqlite`` makes the embedded one.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    def sqlite(cls, path: Path) -> Store:
        """One file, write-ahead log."""
        engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(path)))

        @event.listens_for(engine.sync_engine, "connect")
        def _pragmas(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA busy_timeout=10000")

        return cls(engine)

    async def open(self) -> None:
        """Make the tables that are missing."""
        async with self._engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    async def add_session(self, session: Session) -> None:
        """Store a new session."""
        row = {
            "session_id": session.session_id,
            "account_id": session.account_id,
            "body": _SESSION.dump_json(session).decode(),
            "created_at": session.created_at,
            "expires_at": session.expires_at,
        }
        async with self._engine.begin() as connection:
            await connection.execute(sessions.insert().values(row))

    async def session(self, account: str, session_id: str) -> Session | None:
        """One session of this account."""
        query = select(sessions.c.body).where(sessions.c.session_id == session_id, sessions.c.account_id == account)
        return await self._one(_SESSION, query)

    async def add_job(self, job: Job) -> None:
        """Store a new job."""
        row = {
            "job_id": job.job_id,
            "account_id": job.account_id,
            "status": job.status,
            "body": _JOB.dump_json(job).decode(),
            "number": select(func.coalesce(func.max(jobs.c.number), 0) + 1).scalar_subquery(),
            "created_at": job.created_at,
        }
        async with self._engine.begin() as connection:
            await connection.execute(jobs.insert().values(row))

    async def job(self, account: str, job_id: str) -> Job | None:
        """One job of this account."""
        return await self._one(_JOB, select(jobs.c.body).where(jobs.c.job_id == job_id, jobs.c.account_id == account))

    async def list_jobs(self, account: str, limit: int, before: int | None) -> list[tuple[int, Job]]:
        """Jobs of this account with their numbers, newest first, from below number ``before``."""
        query = select(jobs.c.number, jobs.c.body).where(jobs.c.account_id == account)
        if before is not None:
            query = query.where(jobs.c.number < before)
        async with self._engine.connect() as connection:
            rows = await connection.execute(query.order_by(jobs.c.number.desc()).limit(limit))
            return [(number, _JOB.validate_json(body)) for number, body in rows]

    async def unfinished_jobs(self) -> list[Job]:
        """Jobs of all accounts that have not ended."""
        query = select(jobs.c.body).where(jobs.c.status.in_([JobStatus.QUEUED, JobStatus.RUNNING]))
        async with self._engine.connect() as connection:
            return [_JOB.validate_json(body) for (body,) in await connection.execute(query)]

    async def last_seq(self, job_id: str) -> int:
        """Number of the job's last event, 0 where it has none."""
        query = select(func.coalesce(func.max(job_events.c.seq), 0)).where(job_events.c.job_id == job_id)
        async with self._engine.connect() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def record(self, job: Job, happened: JobEvent) -> bool:
        """Store an event and the job as it left it, together; False when the job had already ended."""
        change = (
            update(jobs)
            .where(jobs.c.job_id == job.job_id, jobs.c.status.in_([JobStatus.QUEUED, JobStatus.RUNNING]))
            .values(status=job.status, body=_JOB.dump_json(job).decode())
            .returning(jobs.c.job_id)
        )
        row = {
            "job_id": job.job_id,
            "seq": happened.seq,
            "account_id": job.account_id,
            "body": _EVENT.dump_json(happened).decode(),
        }
        async with self._engine.begin() as connection:
            if (await connection.execute(change)).first() is None:
                return False
            await connection.execute(job_events.insert().values(row))
        return True

    async def events(self, account: str, job_id: str, after: int) -> Sequence[JobEvent]:
        """The job's events after number ``after``, in order."""
        query = (
            select(job_events.c.body)
            .where(job_events.c.job_id == job_id, job_events.c.account_id == account, job_events.c.seq > after)
            .order_by(job_events.c.seq)
        )
        async with self._engine.connect() as connection:
            return [_EVENT.validate_json(body) for (body,) in await connection.execute(query)]

    async def stage_result(self, account: str, digest: str) -> bytes | None:
        """An earlier result of the same stage on the same inputs."""
        query = select(stage_results.c.result).where(
            stage_results.c.account_id == account, stage_results.c.digest == digest
        )
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def keep_stage_result(self, account: str, digest: str, fingerprint: str, result: bytes) -> None:
        """Keep a result for later, in place of any there is."""
        row = {
            "account_id": account,
            "digest": digest,
            "fingerprint": fingerprint,
            "result": result,
            "created_at": datetime.now(UTC),
        }
        async with self._engine.begin() as connection:
            await connection.execute(
                stage_results.delete().where(stage_results.c.account_id == account, stage_results.c.digest == digest)
            )
            await connection.execute(stage_results.insert().values(row))

    async def _one(self, adapter: TypeAdapter[Value], query: Any) -> Value | None:
        async with self._engine.connect() as connection:
            body = (await connection.execute(query)).scalar_one_or_none()
        return None if body is None else adapter.validate_json(body)
