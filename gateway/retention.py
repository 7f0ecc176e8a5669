"""What goes, and when: expired sessions and artifacts, kept results beyond their bound, what a caller deletes.

Everything here takes rows away; bytes follow when no row refers to them any longer (``gateway.store.references``).
A kept result goes with the last session that used it, or when the cache is over its bound and it was not used for
longest; one that an open job's session used is left alone. So running jobs, unexpired artifacts and live sessions
never miss anything, and all of it may run beside them, in several replicas, and be killed at any moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, literal, select

from gateway.blobs import BlobStore
from gateway.model import JobStatus
from gateway.settings import Settings
from gateway.store import Store, in_thread, references
from gateway.store.tables import (
    blob_references,
    deliveries,
    executors,
    idempotency_keys,
    job_events,
    jobs,
    result_uses,
    sessions,
    stage_claims,
    stage_results,
)
from lensora.core.errors import NotFound

SETTLING = timedelta(minutes=15)
"""An upload or a stage that has begun may take so long to refer to what it wrote; what is older was lost with its
gateway."""

_BATCH = 500

_log = structlog.get_logger()

_OPEN = jobs.c.status.in_([JobStatus.QUEUED, JobStatus.RUNNING])
_of_session, _of_job = literal(references.of_session("")), literal(references.of_job(""))


class SessionBusy(Exception):
    """The session has open jobs; nothing was changed."""

    def __init__(self, job_ids: list[str]) -> None:
        super().__init__(", ".join(job_ids))
        self.job_ids = job_ids


class Retention:
    """Removes what nobody may have or needs any longer."""

    def __init__(self, settings: Settings, store: Store, blobs: BlobStore) -> None:
        self._settings, self._store, self._blobs = settings, store, blobs
        self.database = store.database

    async def run(self) -> None:
        """All of it, in one of the replicas."""
        if min(await self._store.living(), default=None) != self._settings.executor_id:
            return
        await self.expire(datetime.now(UTC))
        await self.bound_cache()
        await self.sweep()

    @in_thread
    def expire(self, now: datetime) -> None:
        """Take away what has come of age: sessions, artifacts, results that no session uses, pins, and records."""
        with self.database.writing() as connection:
            self._expire_holders(connection, now)
            self._expire_results(connection, now)
            self._expire_records(connection, now - timedelta(days=self._settings.record_days))

    @in_thread
    def bound_cache(self) -> None:
        """Evict the results that were not used for longest until the rest fits, but none that an open job may need."""
        result, uses = stage_results.c, result_uses.c
        by = (uses.account_id == result.account_id, uses.digest == result.digest)
        open_jobs = exists().where(*by, jobs.c.session_id == uses.session_id, _OPEN)
        an_upload = exists().where(*by, ~exists().where(sessions.c.session_id == uses.session_id))
        oldest = (
            select(result.account_id, result.digest, result.size, result.used_at)
            .where(~open_jobs, ~an_upload)
            .order_by(result.used_at)
        )
        with self.database.writing() as connection:
            held = int(connection.execute(select(func.coalesce(func.sum(result.size), 0))).scalar_one())
            if held <= self._settings.cache_bytes:
                return
            before = held
            for account, digest, size, used_at in connection.execute(oldest).all():
                if held <= self._settings.cache_bytes:
                    break
                unused = (result.account_id == account, result.digest == digest, result.used_at == used_at)
                held -= size if self._drop_results(connection, *unused) else 0
        if held < before:
            _log.info("stage results evicted", bytes=before - held, left=held)

    async def sweep(self) -> None:
        """Remove all bytes that no row refers to, and what was left in the staging area."""
        await self._blobs.run(self._blobs.sweep_staging, SETTLING.total_seconds() + self._settings.stage_seconds)
        listed = self._blobs.listed()
        while (some := await self._blobs.run(next, listed, None)) is not None:
            await self._remove(*some)

    async def forget(self, account: str, session_id: str) -> None:
        """Delete a session and its jobs, with all their bytes that nothing else needs; the ledger stays.

        Raises:
            NotFound: reason ``SESSION_NOT_FOUND``.
            SessionBusy: its jobs must be ended first.
        """
        released = await self._forgotten(account, session_id)
        for start in range(0, len(released), _BATCH):
            await self._remove(account, released[start : start + _BATCH])

    @in_thread
    def _forgotten(self, account: str, session_id: str) -> list[str]:
        """The same without the bytes; what of them it referred to."""
        with self.database.writing() as connection:
            mine = (sessions.c.account_id == account, sessions.c.session_id == session_id)
            gone = connection.execute(delete(sessions).where(*mine).returning(sessions.c.session_id))
            if gone.first() is None:
                raise NotFound("session_id: no such session", reason="SESSION_NOT_FOUND")
            found = connection.execute(
                select(jobs.c.job_id, _OPEN).where(jobs.c.account_id == account, jobs.c.session_id == session_id)
            )
            of_it = found.all()
            if busy := [job_id for job_id, is_open in of_it if is_open]:
                raise SessionBusy(busy)
            job_ids = [job_id for job_id, _ in of_it]
            released = self._drop_results(connection, self._only_used_by(connection, account, session_id))
            for holder in (references.of_session(session_id), *map(references.of_job, job_ids)):
                released += references.release(connection, account, holder)
            _drop_records(connection, [session_id, *job_ids])
        return released

    def _expire_holders(self, connection: Connection, now: datetime) -> None:
        living = exists().where(jobs.c.session_id == sessions.c.session_id, _OPEN)
        ended = now - timedelta(days=self._settings.artifact_days)
        expired_sessions = select(_of_session + sessions.c.session_id).where(sessions.c.expires_at <= now, ~living)
        expired_jobs = select(_of_job + jobs.c.job_id).where(jobs.c.ended_at <= ended)
        for holders in (expired_sessions, expired_jobs):
            connection.execute(delete(blob_references).where(blob_references.c.holder.in_(holders)))
        pins = blob_references.c.holder.startswith(references.a_pin(""))
        lost = delete(blob_references).where(pins, blob_references.c.created_at <= now - SETTLING)
        connection.execute(lost)

    def _expire_results(self, connection: Connection, now: datetime) -> None:
        session_id = result_uses.c.session_id
        living = exists().where(sessions.c.session_id == session_id, sessions.c.expires_at > now)
        working = exists().where(jobs.c.session_id == session_id, _OPEN)
        old = result_uses.c.created_at <= now - SETTLING  # a session comes after the detection that it rests on
        connection.execute(delete(result_uses).where(~living, ~working, old))
        self._drop_results(connection, ~_used(), stage_results.c.used_at <= now - SETTLING)
        dead = stage_claims.c.executor_id.not_in(select(executors.c.executor_id).where(executors.c.expires_at > now))
        connection.execute(delete(stage_claims).where(dead))

    def _expire_records(self, connection: Connection, before: datetime) -> None:
        old_jobs = select(jobs.c.job_id).where(jobs.c.ended_at <= before).limit(_BATCH)
        _drop_records(connection, [job_id for (job_id,) in connection.execute(old_jobs)])
        has_jobs = exists().where(jobs.c.session_id == sessions.c.session_id)
        old_sessions = select(sessions.c.session_id).where(sessions.c.expires_at <= before, ~has_jobs).limit(_BATCH)
        _drop_records(connection, [session_id for (session_id,) in connection.execute(old_sessions)])

    def _only_used_by(self, connection: Connection, account: str, session_id: str) -> ColumnElement[bool]:
        """Take the session's uses away; what it alone had used."""
        mine = (result_uses.c.account_id == account, result_uses.c.session_id == session_id)
        gone = connection.execute(delete(result_uses).where(*mine).returning(result_uses.c.digest))
        digests = [digest for (digest,) in gone]
        # who has just begun to use one holds its row; what is asked next sees what they did
        held = select(stage_results.c.digest).where(
            stage_results.c.account_id == account, stage_results.c.digest.in_(digests)
        )
        connection.execute(held.order_by(stage_results.c.digest).with_for_update())
        return and_(stage_results.c.account_id == account, stage_results.c.digest.in_(digests), ~_used())

    def _drop_results(self, connection: Connection, *which: ColumnElement[bool]) -> list[str]:
        """Delete kept results; the blobs that they referred to."""
        result = stage_results.c
        gone = connection.execute(delete(stage_results).where(*which).returning(result.account_id, result.digest))
        released: list[str] = []
        for account, digest in gone.all():
            same = (result_uses.c.account_id == account, result_uses.c.digest == digest)
            connection.execute(delete(result_uses).where(*same))
            released += references.release(connection, account, references.of_result(digest))
        return released

    @in_thread
    def _remove(self, account: str, digests: Sequence[str]) -> None:
        """Remove those of these blobs that nobody refers to; see ``gateway.store.references``."""
        with self.database.reading() as connection:
            if not references.unreferred(connection, account, digests):
                return
        with self.database.writing() as connection:
            references.lock(connection, account)
            rubbish = references.unreferred(connection, account, digests)
            if rubbish:
                self._blobs.remove(account, rubbish)
                _log.info("blobs removed", account=account, count=len(rubbish))


def _used() -> ColumnElement[bool]:
    """Whether any session uses the result."""
    result = stage_results.c
    return exists().where(result_uses.c.account_id == result.account_id, result_uses.c.digest == result.digest)


def _drop_records(connection: Connection, ids: list[str]) -> None:
    """Delete the rows of jobs and sessions, and what hangs on them."""
    for column in (
        deliveries.c.job_id,
        job_events.c.job_id,
        idempotency_keys.c.resource_id,
        jobs.c.job_id,
        sessions.c.session_id,
    ):
        connection.execute(delete(column.table).where(column.in_(ids)))
