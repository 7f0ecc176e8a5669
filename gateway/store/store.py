"""Reading and writing the tables: whole values in, whole values out.

What must happen together takes a connection, so that its caller can put it into one transaction; see
``Database.writing``. The ledger has a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.model import Job, JobEvent, JobStatus, Session
from gateway.options import PictureBackground
from gateway.store import references, schema
from gateway.store.database import Database, in_thread
from gateway.store.tables import (
    executors,
    idempotency_keys,
    job_events,
    jobs,
    result_uses,
    sessions,
    stage_results,
)
from lensora.core.errors import AlreadyExists

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

    @in_thread
    def open(self, *, migrate: bool = True) -> None:
        """Bring the tables to what this build works with, or else refuse what is not.

        Raises:
            FailedPrecondition: reason ``SCHEMA_TOO_NEW`` or, where it may not ``migrate``, ``SCHEMA_TOO_OLD``.
        """
        with self.database.writing() as connection:
            (schema.upgrade if migrate else schema.require_newest)(connection)

    def add_session(self, connection: Connection, session: Session) -> None:
        """Store a new session."""
        row = {
            "session_id": session.session_id,
            "account_id": session.account_id,
            "body": _SESSION.dump_json(session).decode(),
            "created_at": session.created_at,
            "expires_at": session.expires_at,
        }
        connection.execute(insert(sessions), row)
        holder = references.of_session(session.session_id)
        references.refer(connection, session.account_id, holder, [session.photo.sha256])

    @in_thread
    def session(self, account: str, session_id: str) -> Session | None:
        """One session of this account."""
        query = select(sessions.c.body).where(sessions.c.session_id == session_id, sessions.c.account_id == account)
        return self._one(_SESSION, query)

    def hold_session(self, connection: Connection, account: str, session_id: str) -> Session | None:
        """The same, and nobody deletes it to the end of the transaction, which is about to add a job to it."""
        query = select(sessions.c.body).where(sessions.c.session_id == session_id, sessions.c.account_id == account)
        body = connection.execute(query.with_for_update(read=True)).scalar_one_or_none()
        return None if body is None else _SESSION.validate_json(body)

    def add_job(self, connection: Connection, job: Job) -> int:
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
        number = connection.execute(insert(jobs).returning(jobs.c.number), row).scalar_one()
        if isinstance(job.options.background, PictureBackground):
            picture = [job.options.background.sha256]
            references.refer(connection, job.account_id, references.of_job(job.job_id), picture)
            references.release(connection, job.account_id, references.a_pin(job.job_id))
        return int(number)

    @in_thread
    def job(self, account: str, job_id: str) -> Job | None:
        """One job of this account."""
        return self._one(_JOB, select(jobs.c.body).where(jobs.c.job_id == job_id, jobs.c.account_id == account))

    @in_thread
    def list_jobs(self, account: str, limit: int, before: int | None) -> list[tuple[int, Job]]:
        """Jobs of this account with their numbers, newest first, from below number ``before``."""
        query = select(jobs.c.number, jobs.c.body).where(jobs.c.account_id == account)
        if before is not None:
            query = query.where(jobs.c.number < before)
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(jobs.c.number.desc()).limit(limit))
            return [(number, _JOB.validate_json(body)) for number, body in rows]

    @in_thread
    def standing(self, account: str, job_id: str) -> tuple[Job, int] | None:
        """One job of this account and the number of its last event, 0 where it has none, as of the same moment."""
        last = select(func.coalesce(func.max(job_events.c.seq), 0)).where(job_events.c.job_id == job_id)
        query = select(jobs.c.body, last.scalar_subquery()).where(jobs.c.job_id == job_id, jobs.c.account_id == account)
        with self.database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else (_JOB.validate_json(row[0]), int(row[1]))

    def count_open(self, connection: Connection, account: str) -> tuple[int, int]:
        """How many jobs have not ended: of one account, and of all."""
        query = select(func.count().filter(jobs.c.account_id == account), func.count()).where(_OPEN)
        mine, every = connection.execute(query).one()
        return int(mine), int(every)

    @in_thread
    def open_runs(self) -> list[Run]:
        """All jobs that have not ended, oldest first."""
        query = select(*(jobs.c[name] for name in Run.__slots__)).where(_OPEN)
        with self.database.reading() as connection:
            return [Run(*row) for row in connection.execute(query.order_by(jobs.c.number))]

    @in_thread
    def take(self, job_id: str, workflow_id: str | None = None) -> tuple[Job, int, int] | None:
        """Become the only one who may write the job's story, if it is open, and if this is its workflow.

        Returns:
            The job, the number of its last event, and the epoch to write under; None where it is not ours to take.
        """
        change = update(jobs).where(jobs.c.job_id == job_id, _OPEN)
        if workflow_id is not None:
            change = change.where(jobs.c.workflow_id == workflow_id)
        change = change.values(epoch=jobs.c.epoch + 1)
        with self.database.writing() as connection:
            row = connection.execute(change.returning(jobs.c.body, jobs.c.epoch)).first()
            if row is None:
                return None
            last = select(func.coalesce(func.max(job_events.c.seq), 0)).where(job_events.c.job_id == job_id)
            return _JOB.validate_json(row[0]), int(connection.execute(last).scalar_one()), int(row[1])

    @in_thread
    def workflow(self, job_id: str) -> str:
        """The workflow that may work on the job."""
        with self.database.reading() as connection:
            query = select(jobs.c.workflow_id).where(jobs.c.job_id == job_id)
            return str(connection.execute(query).scalar_one())

    def replace_run(self, connection: Connection, run: Run, workflow_id: str) -> bool:
        """Hand an open job to a new workflow, unless somebody did it before."""
        change = (
            update(jobs)
            .where(jobs.c.job_id == run.job_id, jobs.c.workflow_id == run.workflow_id, _OPEN)
            .values(workflow_id=workflow_id, runs=jobs.c.runs + 1, epoch=jobs.c.epoch + 1)
            .returning(jobs.c.job_id)
        )
        return connection.execute(change).first() is not None

    @in_thread
    def record(
        self,
        job: Job,
        happened: JobEvent,
        epoch: int,
        settle: Callable[[Connection], object] | None = None,
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
        with self.database.writing() as connection:
            if connection.execute(change).first() is None:
                return False
            connection.execute(insert(job_events), row)
            references.refer(connection, job.account_id, references.of_job(job.job_id), artifacts)
            if settle is not None:
                settle(connection)
        return True

    @in_thread
    def events(self, account: str, job_id: str, after: int) -> Sequence[JobEvent]:
        """The job's events after number ``after``, in order."""
        query = (
            select(job_events.c.body)
            .where(job_events.c.job_id == job_id, job_events.c.account_id == account, job_events.c.seq > after)
            .order_by(job_events.c.seq)
        )
        with self.database.reading() as connection:
            return [_EVENT.validate_json(body) for (body,) in connection.execute(query)]

    @in_thread
    def last_seqs(self, job_ids: Sequence[str]) -> dict[str, int]:
        """Number of the last event of each of these jobs that has any."""
        query = (
            select(job_events.c.job_id, func.max(job_events.c.seq).label("seq"))
            .where(job_events.c.job_id.in_(job_ids))
            .group_by(job_events.c.job_id)
        )
        with self.database.reading() as connection:
            return {row.job_id: row.seq for row in connection.execute(query)}

    def made_before(self, connection: Connection, account: str, call: Call, key: str, body_sha256: str) -> str | None:
        """What an earlier call with this idempotency key made.

        Raises:
            AlreadyExists: reason ``IDEMPOTENCY_KEY_REUSED``: its body was another.
        """
        row = self._bound_to(connection, account, call, key)
        if row is None:
            return None
        if row.body_sha256 != body_sha256:
            message = "idempotency_key: used before, with another body"
            raise AlreadyExists(message, reason="IDEMPOTENCY_KEY_REUSED")
        return str(row.resource_id)

    def is_key_bound(self, connection: Connection, account: str, call: Call, key: str) -> bool:
        """Whether an earlier call with this idempotency key made something."""
        return self._bound_to(connection, account, call, key) is not None

    def _bound_to(self, connection: Connection, account: str, call: Call, key: str) -> Any:
        query = select(idempotency_keys.c.resource_id, idempotency_keys.c.body_sha256).where(
            idempotency_keys.c.account_id == account, idempotency_keys.c.call == call, idempotency_keys.c.key == key
        )
        return connection.execute(query).first()

    def claim_key(
        self, connection: Connection, account: str, call: Call, key: str, body_sha256: str, resource_id: str
    ) -> str | None:
        """Bind an idempotency key to what is being made, unless another call did: then as ``made_before``."""
        row = {
            "account_id": account,
            "call": call,
            "key": key,
            "body_sha256": body_sha256,
            "resource_id": resource_id,
            "created_at": datetime.now(UTC),
        }
        claim = self._insert(idempotency_keys).on_conflict_do_nothing()
        if connection.execute(claim.returning(idempotency_keys.c.key), row).first() is not None:
            return None
        return self.made_before(connection, account, call, key, body_sha256)

    @in_thread
    def pin(self, account: str, token: str, digests: Sequence[str]) -> None:
        """Let nobody remove these blobs, which are about to be written and then referred to."""
        with self.database.writing() as connection:
            references.lock(connection, account)
            references.refer(connection, account, references.a_pin(token), digests)

    @in_thread
    def stage_result(self, account: str, digest: str, session_id: str) -> bytes | None:
        """An earlier result of the same stage on the same inputs, which this session uses from now on, too."""
        mine = (stage_results.c.account_id == account, stage_results.c.digest == digest)
        with self.database.reading() as connection:
            if connection.execute(select(stage_results.c.digest).where(*mine)).first() is None:
                return None
        with self.database.writing() as connection:
            use = update(stage_results).where(*mine).values(used_at=datetime.now(UTC))
            kept = connection.execute(use.returning(stage_results.c.result)).scalar_one_or_none()
            if kept is None:
                return None  # it was evicted between the two
            self._use(connection, account, digest, session_id)
            return bytes(kept)

    @in_thread
    def keep_stage_result(
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
        with self.database.writing() as connection:
            connection.execute(keep)
            self._use(connection, account, digest, session_id)
            references.release(connection, account, holder)
            references.refer(connection, account, holder, blobs)
            references.release(connection, account, references.a_pin(pin))

    def _use(self, connection: Connection, account: str, digest: str, session_id: str) -> None:
        row = {"account_id": account, "digest": digest, "session_id": session_id, "created_at": datetime.now(UTC)}
        connection.execute(self._insert(result_uses).on_conflict_do_nothing(), row)

    @in_thread
    def renew_lease(self, executor_id: str, expires_at: datetime) -> None:
        """Say that a replica lives, at least until then."""
        renew = self._insert(executors).values(executor_id=executor_id, expires_at=expires_at)
        with self.database.writing() as connection:
            connection.execute(
                renew.on_conflict_do_update(index_elements=["executor_id"], set_={"expires_at": expires_at})
            )

    @in_thread
    def living(self) -> set[str]:
        """Replicas whose lease runs."""
        with self.database.reading() as connection:
            query = select(executors.c.executor_id).where(executors.c.expires_at > datetime.now(UTC))
            return {executor_id for (executor_id,) in connection.execute(query)}

    @in_thread
    def end_lease(self, executor_id: str) -> None:
        """Say that a replica is gone."""
        with self.database.writing() as connection:
            connection.execute(delete(executors).where(executors.c.executor_id == executor_id))

    def _insert(self, table: Any) -> Any:
        """An INSERT that can say what to do on a conflict, which SQLAlchemy leaves to the dialects."""
        return (sqlite if self.database.is_sqlite else postgresql).insert(table)

    def _one(self, adapter: TypeAdapter[Value], query: Any) -> Value | None:
        with self.database.reading() as connection:
            body = connection.execute(query).scalar_one_or_none()
        return None if body is None else adapter.validate_json(body)
