"""Reading and writing the tables: whole values in, whole values out.

What must happen together takes a connection, so that its caller can put it into one transaction; see
``Database.writing``. The ledger has a module of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.model import Job, JobEvent, JobStatus, Session
from gateway.options import PictureBackground
from gateway.store import references, schema
from gateway.store.database import Database
from gateway.store.tables import (
    executors,
    idempotency_keys,
    job_events,
    jobs,
    result_uses,
    sessions,
    stage_results,
)
from lensora.core.errors import NotFound

Value = TypeVar("Value")
Call = Literal["init", "transform"]

_SESSION, _JOB, _EVENT = TypeAdapter(Session), TypeAdapter(Job), TypeAdapter(JobEvent)
_OPEN = jobs.c.status.in_([JobStatus.QUEUED, JobStatus.RUNNING])


@dataclass(frozen=True, slots=True)
class Run:
    """An open job, and the workflow that may work on it."""

    account_id: str
    job_id: str
    workflow_id: str
    runs: int
    """How many there were, this one counted."""
    number: int
    """The job's place in line."""


class Store:
    """The gateway's sessions, jobs, events and kept results."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def open(self, *, migrate: bool = True) -> None:
        """Bring the tables to what this build works with, or else refuse what is not.

        Raises:
            FailedPrecondition: reason ``SCHEMA_TOO_NEW`` or, where it may not ``migrate``, ``SCHEMA_TOO_OLD``.
        """
        async with self.database.writing() as connection:
            await connection.run_sync(schema.upgrade if migrate else schema.require_newest)

    async def add_session(self, connection: AsyncConnection, session: Session) -> None:
        """Store a new session."""
        row = {
            "session_id": session.session_id,
            "account_id": session.account_id,
            "body": _SESSION.dump_json(session).decode(),
            "created_at": session.created_at,
            "expires_at": session.expires_at,
        }
        await connection.execute(insert(sessions).values(row))
        holder = references.of_session(session.session_id)
        await references.refer(connection, session.account_id, holder, [session.photo.sha256])

    async def session(self, account: str, session_id: str) -> Session | None:
        """One session of this account."""
        query = select(sessions.c.body).where(sessions.c.session_id == session_id, sessions.c.account_id == account)
        return await self._one(_SESSION, query)

    async def hold_session(self, connection: AsyncConnection, session_id: str) -> None:
        """Let nobody delete the session to the end of the transaction, which is about to add a job to it.

        Raises:
            NotFound: reason ``SESSION_NOT_FOUND``: it was deleted meanwhile.
        """
        there = select(sessions.c.session_id).where(sessions.c.session_id == session_id).with_for_update(read=True)
        if (await connection.execute(there)).first() is None:
            raise NotFound("session_id: no such session", reason="SESSION_NOT_FOUND")

    async def add_job(self, connection: AsyncConnection, job: Job) -> int:
        """Store a new job, whose first workflow has its id; returns its number, which grows from job to job."""
        row = {
            "job_id": job.job_id,
            "account_id": job.account_id,
            "session_id": str(job.options.session_id),
            "status": job.status,
            "body": _JOB.dump_json(job).decode(),
            "workflow_id": job.job_id,
            "created_at": job.created_at,
        }
        number = (await connection.execute(insert(jobs).values(row).returning(jobs.c.number))).scalar_one()
        if isinstance(job.options.background, PictureBackground):
            picture = [job.options.background.sha256]
            await references.refer(connection, job.account_id, references.of_job(job.job_id), picture)
            await references.release(connection, job.account_id, references.a_pin(job.job_id))
        return int(number)

    async def job(self, account: str, job_id: str) -> Job | None:
        """One job of this account."""
        return await self._one(_JOB, select(jobs.c.body).where(jobs.c.job_id == job_id, jobs.c.account_id == account))

    async def list_jobs(self, account: str, limit: int, before: int | None) -> list[tuple[int, Job]]:
        """Jobs of this account with their numbers, newest first, from below number ``before``."""
        query = select(jobs.c.number, jobs.c.body).where(jobs.c.account_id == account)
        if before is not None:
            query = query.where(jobs.c.number < before)
        async with self.database.reading() as connection:
            rows = await connection.execute(query.order_by(jobs.c.number.desc()).limit(limit))
            return [(number, _JOB.validate_json(body)) for number, body in rows]

    async def count_open(self, account: str) -> tuple[int, int]:
        """How many jobs have not ended: of one account, and of all."""
        query = select(func.count().filter(jobs.c.account_id == account), func.count()).where(_OPEN)
        async with self.database.reading() as connection:
            mine, every = (await connection.execute(query)).one()
            return int(mine), int(every)

    async def open_runs(self) -> list[Run]:
        """All jobs that have not ended, oldest first."""
        query = select(*(jobs.c[name] for name in Run.__slots__)).where(_OPEN)
        async with self.database.reading() as connection:
            return [Run(*row) for row in await connection.execute(query.order_by(jobs.c.number))]

    async def take(self, job_id: str, workflow_id: str | None = None) -> tuple[Job, int, int] | None:
        """Become the only one who may write the job's story, if it is open, and if this is its workflow.

        Returns:
            The job, the number of its last event, and the epoch to write under; None where it is not ours to take.
        """
        change = update(jobs).where(jobs.c.job_id == job_id, _OPEN)
        if workflow_id is not None:
            change = change.where(jobs.c.workflow_id == workflow_id)
        change = change.values(epoch=jobs.c.epoch + 1)
        async with self.database.writing() as connection:
            row = (await connection.execute(change.returning(jobs.c.body, jobs.c.epoch))).first()
            if row is None:
                return None
            return _JOB.validate_json(row[0]), await self.last_seq(job_id, connection), int(row[1])

    async def workflow(self, job_id: str) -> str:
        """The workflow that may work on the job."""
        async with self.database.reading() as connection:
            query = select(jobs.c.workflow_id).where(jobs.c.job_id == job_id)
            return str((await connection.execute(query)).scalar_one())

    async def replace_run(self, connection: AsyncConnection, run: Run, workflow_id: str) -> bool:
        """Hand an open job to a new workflow, unless somebody did it before."""
        change = (
            update(jobs)
            .where(jobs.c.job_id == run.job_id, jobs.c.workflow_id == run.workflow_id, _OPEN)
            .values(workflow_id=workflow_id, runs=jobs.c.runs + 1, epoch=jobs.c.epoch + 1)
            .returning(jobs.c.job_id)
        )
        return (await connection.execute(change)).first() is not None

    async def last_seq(self, job_id: str, connection: AsyncConnection | None = None) -> int:
        """Number of the job's last event, 0 where it has none."""
        query = select(func.coalesce(func.max(job_events.c.seq), 0)).where(job_events.c.job_id == job_id)
        if connection is not None:
            return int((await connection.execute(query)).scalar_one())
        async with self.database.reading() as reader:
            return int((await reader.execute(query)).scalar_one())

    async def record(
        self,
        job: Job,
        happened: JobEvent,
        epoch: int,
        settle: Callable[[AsyncConnection], Awaitable[object]] | None = None,
    ) -> bool:
        """Store an event, the job as it left it, and what ``settle`` does, all together or not at all.

        Returns:
            False, and nothing was stored, when the job had ended, or another has taken it since ``epoch``.
        """
        change = (
            update(jobs)
            .where(jobs.c.job_id == job.job_id, jobs.c.epoch == epoch, _OPEN)
            .values(status=job.status, body=_JOB.dump_json(job).decode(), ended_at=job.ended_at)
            .returning(jobs.c.job_id)
        )
        row = {
            "job_id": job.job_id,
            "seq": happened.seq,
            "account_id": job.account_id,
            "body": _EVENT.dump_json(happened).decode(),
        }
        artifacts = [stored.sha256 for stored in job.artifacts.values()]
        async with self.database.writing() as connection:
            if (await connection.execute(change)).first() is None:
                return False
            await connection.execute(insert(job_events).values(row))
            await references.refer(connection, job.account_id, references.of_job(job.job_id), artifacts)
            if settle is not None:
                await settle(connection)
        return True

    async def events(self, account: str, job_id: str, after: int) -> Sequence[JobEvent]:
        """The job's events after number ``after``, in order."""
        query = (
            select(job_events.c.body)
            .where(job_events.c.job_id == job_id, job_events.c.account_id == account, job_events.c.seq > after)
            .order_by(job_events.c.seq)
        )
        async with self.database.reading() as connection:
            return [_EVENT.validate_json(body) for (body,) in await connection.execute(query)]

    async def last_seqs(self, job_ids: Sequence[str]) -> dict[str, int]:
        """Number of the last event of each of these jobs that has any."""
        query = (
            select(job_events.c.job_id, func.max(job_events.c.seq).label("seq"))
            .where(job_events.c.job_id.in_(job_ids))
            .group_by(job_events.c.job_id)
        )
        async with self.database.reading() as connection:
            return {row.job_id: row.seq for row in await connection.execute(query)}

    async def made_before(
        self, account: str, call: Call, key: str, body_sha256: str, connection: AsyncConnection | None = None
    ) -> tuple[str, bool] | None:
        """What an earlier call with this idempotency key made, and whether its body was the same."""
        query = select(idempotency_keys.c.resource_id, idempotency_keys.c.body_sha256).where(
            idempotency_keys.c.account_id == account, idempotency_keys.c.call == call, idempotency_keys.c.key == key
        )
        if connection is not None:
            row = (await connection.execute(query)).first()
        else:
            async with self.database.reading() as reader:
                row = (await reader.execute(query)).first()
        return None if row is None else (row[0], row[1] == body_sha256)

    async def claim_key(
        self, connection: AsyncConnection, account: str, call: Call, key: str, body_sha256: str, resource_id: str
    ) -> bool:
        """Bind an idempotency key to what is being made; False where another call was faster."""
        row = {
            "account_id": account,
            "call": call,
            "key": key,
            "body_sha256": body_sha256,
            "resource_id": resource_id,
            "created_at": datetime.now(UTC),
        }
        claim = self._insert(idempotency_keys).values(row).on_conflict_do_nothing()
        return (await connection.execute(claim.returning(idempotency_keys.c.key))).first() is not None

    async def pin(self, account: str, token: str, digests: Sequence[str]) -> None:
        """Let nobody remove these blobs, which are about to be written and then referred to."""
        async with self.database.writing() as connection:
            await references.lock(connection, account)
            await references.refer(connection, account, references.a_pin(token), digests)

    async def stage_result(self, account: str, digest: str, session_id: str) -> bytes | None:
        """An earlier result of the same stage on the same inputs, which this session uses from now on, too."""
        mine = (stage_results.c.account_id == account, stage_results.c.digest == digest)
        async with self.database.reading() as connection:
            if (await connection.execute(select(stage_results.c.digest).where(*mine))).first() is None:
                return None
        async with self.database.writing() as connection:
            use = update(stage_results).where(*mine).values(used_at=datetime.now(UTC))
            kept = (await connection.execute(use.returning(stage_results.c.result))).scalar_one_or_none()
            if kept is None:
                return None  # it was evicted between the two
            await self._use(connection, account, digest, session_id)
            return bytes(kept)

    async def keep_stage_result(
        self,
        account: str,
        digest: str,
        fingerprint: str,
        result: bytes,
        blobs: Mapping[str, int],
        session_id: str,
        pin: str,
    ) -> None:
        """Keep a result for later, in place of any there is.

        Args:
            account: whose.
            digest: of what went into it.
            fingerprint: what made it.
            result: its message.
            blobs: SHA-256 and size of what the message refers to.
            session_id: the first that uses it.
            pin: what the blobs were pinned with; taken off.
        """
        now = datetime.now(UTC)
        changes = {"fingerprint": fingerprint, "result": result, "size": len(result) + sum(blobs.values())}
        row = {"account_id": account, "digest": digest, "created_at": now}
        keep = self._insert(stage_results).values(row | changes | {"used_at": now})
        keep = keep.on_conflict_do_update(index_elements=["account_id", "digest"], set_=changes | {"used_at": now})
        holder = references.of_result(digest)
        async with self.database.writing() as connection:
            await connection.execute(keep)
            await self._use(connection, account, digest, session_id)
            await references.release(connection, account, holder)
            await references.refer(connection, account, holder, blobs)
            await references.release(connection, account, references.a_pin(pin))

    async def _use(self, connection: AsyncConnection, account: str, digest: str, session_id: str) -> None:
        row = {"account_id": account, "digest": digest, "session_id": session_id, "created_at": datetime.now(UTC)}
        await connection.execute(self._insert(result_uses).values(row).on_conflict_do_nothing())

    async def renew_lease(self, executor_id: str, expires_at: datetime) -> None:
        """Say that a replica lives, at least until then."""
        renew = self._insert(executors).values(executor_id=executor_id, expires_at=expires_at)
        async with self.database.writing() as connection:
            await connection.execute(
                renew.on_conflict_do_update(index_elements=["executor_id"], set_={"expires_at": expires_at})
            )

    async def living(self) -> set[str]:
        """Replicas whose lease runs."""
        async with self.database.reading() as connection:
            query = select(executors.c.executor_id).where(executors.c.expires_at > datetime.now(UTC))
            return {executor_id for (executor_id,) in await connection.execute(query)}

    async def end_lease(self, executor_id: str) -> None:
        """Say that a replica is gone."""
        async with self.database.writing() as connection:
            await connection.execute(delete(executors).where(executors.c.executor_id == executor_id))

    def _insert(self, table: Any) -> Any:
        """An INSERT that can say what to do on a conflict, which SQLAlchemy leaves to the dialects."""
        return (sqlite if self.database.is_sqlite else postgresql).insert(table)

    async def _one(self, adapter: TypeAdapter[Value], query: Any) -> Value | None:
        async with self.database.reading() as connection:
            body = (await connection.execute(query)).scalar_one_or_none()
        return None if body is None else adapter.validate_json(body)
