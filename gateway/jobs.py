"""The use cases: a photo becomes a session, a session's object a job; jobs are read, watched, cancelled, listed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

from sqlalchemy import Connection

from gateway import accounts, ledger
from gateway.blobs import BlobStore
from gateway.limits import RateLimiter
from gateway.model import (
    LOCAL_ACCOUNT,
    ArtifactKind,
    DetectedObject,
    Job,
    JobEvent,
    JobStatus,
    Session,
    StoredBlob,
)
from gateway.options import JobOptions, PictureBackground, SessionOptions, checked_key
from gateway.progress import Hub, Journal, Superseded
from gateway.retention import Retention, SessionBusy
from gateway.runner import Runner
from gateway.settings import Settings
from gateway.stages import Stages, Work
from gateway.store import Call, Run, Store, in_thread
from gateway.uploads import Upload, receiving
from gateway.webhooks import Sender
from gateway.workflow import Executor, every
from lensora.core.blobs import sha256_hex
from lensora.core.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from lensora.core.outside import Outside
from lensora.detect.v1 import detect_pb2
from lensora.runtime.convert import box_from_proto
from lensora.runtime.telemetry import identify, traceparent

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Ids as they are made here; a database need not be asked for others, nor would all of them take it."""


class Studio:
    """All that callers can do, whatever they speak.

    A job outlives this process: see ``gateway.workflow``.
    """

    def __init__(
        self, settings: Settings, store: Store, blobs: BlobStore, stages: Stages, outside: Outside | None = None
    ) -> None:
        self._settings, self._store, self._blobs, self._stages = settings, store, blobs, stages
        self.database = store.database
        self._hub = Hub(store, settings.poll_seconds)
        runner = Runner(settings, store, self._hub, stages)
        self._executor = Executor(settings, store, runner.work, runner.give_up)
        self._sender = Sender(settings, store, outside)
        self._detections = asyncio.Semaphore(settings.running_inits)
        self._limiter = RateLimiter(settings.rate_per_second, settings.rate_burst)
        self._retention = Retention(settings, store, blobs)
        self._chores: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the store, and take up what an earlier process left unfinished."""
        await self._store.open(migrate=self._settings.migrate)
        if self._settings.auth == "off":
            await self._fund(LOCAL_ACCOUNT)
        await self._stages.claims.tidy()
        await self._executor.start()
        self._sender.start()
        for name, chore, seconds in (
            ("retention", self._retention.run, self._settings.retention_seconds),
            ("claims", self._stages.claims.tidy, self._settings.lease_seconds / 4),
        ):
            self._chores.add(asyncio.create_task(every(seconds, name, chore)))

    async def stop(self) -> None:
        """Leave what runs to the next start, or to another replica, and close everything."""
        await self._sender.stop()
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self._executor.stop()
        await self._hub.stop()
        await self._stages.close()
        await asyncio.to_thread(self.database.close)

    async def authenticate(self, key: str) -> str:
        """The account that calls; every call counts.

        Raises:
            Unauthenticated: keys are required, and this is none.
            ResourceExhausted: reason ``RATE_LIMITED``.
        """
        if self._settings.auth == "off":
            identify(account=LOCAL_ACCOUNT)
            return LOCAL_ACCOUNT
        account = await self.database.run(accounts.authenticate, self.database, key)
        identify(account=account)
        self._limiter.take(account)
        return account

    @contextlib.asynccontextmanager
    async def upload(self, account: str, key: str = "") -> AsyncIterator[Upload]:
        """Where a photo's bytes go, for ``create_session``.

        Args:
            account: whose session it is to be.
            key: idempotency key, or empty.

        Raises:
            FailedPrecondition: reason ``INSUFFICIENT_CREDITS``, before anything is read; a call that is repeated with
                its key has been paid for.
        """
        checked_key(key)
        await self._require_init(account, key)
        async with receiving(self._settings, account, key) as upload:
            yield upload

    async def create_session(self, upload: Upload, options: SessionOptions) -> Session:
        """Detect what is in a photo that was uploaded, and charge for that.

        Raises:
            InvalidArgument: field ``image``: no picture that we take.
            AlreadyExists: the key was used for another photo.
            FailedPrecondition: reason ``INSUFFICIENT_CREDITS``.
        """
        account, key = upload.account, upload.key
        body = upload.digest(options.model_dump_json().encode())
        if key and (made := await self._made_before(account, "init", key, body)):
            return await self.session(account, made)
        session_id = str(uuid.uuid4())
        work = Work(account, session_id, uuid.uuid4().hex, _ignore)
        async with self._detections:
            started = time.monotonic()
            result = (await self._stages.detect(work, await upload.read(), options.max_objects)).result
        now = datetime.now(UTC)
        session = Session(
            session_id=session_id,
            account_id=account,
            photo=StoredBlob(result.photo.sha256, result.photo.size, result.photo.media_type),
            photo_width=result.width,
            photo_height=result.height,
            objects=tuple(_object(proposal) for proposal in result.proposals),
            detect_elapsed_ms=round((time.monotonic() - started) * 1000),
            created_at=now,
            expires_at=now + timedelta(hours=self._settings.session_hours),
        )
        made = await self._add_session(session, key, body)
        return session if made is None else await self.session(account, made)

    async def session(self, account: str, session_id: str) -> Session:
        """A session that can be used.

        Raises:
            NotFound: not in this account.
            FailedPrecondition: reason ``SESSION_EXPIRED``.
        """
        return _usable(await self._store.session(account, session_id) if _ID.fullmatch(session_id) else None)

    async def delete_session(self, account: str, session_id: str) -> None:
        """Forget a session and its jobs, and remove all their bytes that nothing else needs.

        Its open jobs are cancelled, and so refunded, before; the ledger stays.

        Raises:
            NotFound: not in this account.
        """
        if not _ID.fullmatch(session_id):
            raise NotFound("session_id: no such session", reason="SESSION_NOT_FOUND")
        while True:
            try:
                await self._retention.forget(account, session_id)
                return
            except SessionBusy as busy:
                for job_id in busy.job_ids:
                    await self.cancel(account, job_id)

    async def create_job(self, account: str, options: JobOptions, picture: bytes = b"", key: str = "") -> Job:
        """Accept a job: its row, the hold on its price and its place in the queue, together or not at all.

        Args:
            account: whose job.
            options: what to make.
            picture: what ``options.background`` has the digest of, if that is a picture.
            key: idempotency key, or empty.

        Raises:
            NotFound: no such session.
            FailedPrecondition: reason ``SESSION_EXPIRED`` or ``INSUFFICIENT_CREDITS``.
            InvalidArgument: field ``object_index``.
            AlreadyExists: the key was used for another job.
            ResourceExhausted: reason ``QUEUE_FULL``.
        """
        checked_key(key)
        job = Job(
            str(uuid.uuid4()),
            account,
            options,
            created_at=datetime.now(UTC),
            price=ledger.JOB_PRICE,
            traceparent=traceparent(),
        )
        identify(job_id=job.job_id)
        if isinstance(options.background, PictureBackground):
            made = await self._check_job(job, key)
            if made is not None:
                return await self.job(account, made)
            await self._store.pin(account, job.job_id, [options.background.sha256])
            await self._blobs.run(self._blobs.put, account, picture)
        made = await self._add_job(job, key)
        return job if made is None else await self.job(account, made)

    async def job(self, account: str, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            NotFound: not in this account.
        """
        job = await self._store.job(account, job_id) if _ID.fullmatch(job_id) else None
        if job is None:
            raise NotFound("job_id: no such job", reason="JOB_NOT_FOUND")
        identify(job_id=job_id)
        return job

    async def watch(self, account: str, job_id: str, after: int) -> AsyncIterator[JobEvent]:
        """The job's events after number ``after``, up to and with the terminal one; none where that was seen."""
        if after < 0:
            raise InvalidArgument.of("after_seq", f"0 or more, not {after}")
        seen = self._hub.seen(account, job_id)
        if seen is None or after > seen.seq:  # we need not be the first to know
            standing = await self._store.standing(account, job_id) if _ID.fullmatch(job_id) else None
            if standing is None:
                raise NotFound("job_id: no such job", reason="JOB_NOT_FOUND")
            identify(job_id=job_id)
            job, last = standing
            after = min(after, last)  # else who asks for too much waits for ever
            if job.status.terminal and after == last:
                return
        elif seen.status.terminal and after == seen.seq:
            return
        async for event in self._hub.follow(account, job_id, after):
            yield event

    async def cancel(self, account: str, job_id: str) -> Job:
        """End the job and give its credits back, then stop its work; harmless on a job that has ended."""
        await self.job(account, job_id)
        taken = await self._store.take(job_id)
        if taken is not None:
            try:
                await Journal(self._store, self._hub, *taken).end(JobStatus.CANCELLED)
            except Superseded:  # it ended, or moved on, between the two
                return await self.cancel(account, job_id)
        await self._executor.cancel(await self._store.workflow(job_id))
        return await self.job(account, job_id)

    async def list_jobs(self, account: str, limit: int, before: int | None) -> tuple[list[Job], int | None]:
        """A page of jobs, newest first, and where the next page begins."""
        rows = await self._store.list_jobs(account, limit + 1, before)
        page = rows[:limit]
        return [job for _, job in page], page[-1][0] if len(rows) > limit else None

    async def artifact(self, account: str, job_id: str, kind: ArtifactKind) -> tuple[StoredBlob, BinaryIO]:
        """One artifact of a job that succeeded, and its bytes.

        Raises:
            FailedPrecondition: reason ``JOB_NOT_SUCCEEDED`` or ``ARTIFACT_EXPIRED``.
            NotFound: reason ``ARTIFACT_NOT_ASKED_FOR``: the film with alpha of a job with another background.
        """
        job = await self.job(account, job_id)
        if job.status is not JobStatus.SUCCEEDED:
            raise FailedPrecondition(f"the job is {job.status}; it has no artifacts", reason="JOB_NOT_SUCCEEDED")
        if kind not in job.artifacts:
            raise NotFound("kind: only a job with a transparent background has it", reason="ARTIFACT_NOT_ASKED_FOR")
        if job.ended_at is None or job.ended_at + timedelta(days=self._settings.artifact_days) <= datetime.now(UTC):
            message = f"the artifacts were kept for {self._settings.artifact_days:g} days; make them again"
            raise FailedPrecondition(message, reason="ARTIFACT_EXPIRED")
        stored = job.artifacts[kind]
        return stored, await self._blobs.run(self._blobs.open, account, stored.sha256)

    async def photo(self, account: str, session_id: str) -> tuple[StoredBlob, BinaryIO]:
        """The session's normalised photo, and its bytes."""
        photo = (await self.session(account, session_id)).photo
        return photo, await self._blobs.run(self._blobs.open, account, photo.sha256)

    async def credits(self, account: str, limit: int = 100) -> tuple[ledger.Balance, list[ledger.Entry]]:
        """What the account has, and its latest transactions."""
        return await self._credits(account, limit)

    @in_thread
    def _fund(self, account: str) -> None:
        with self.database.writing() as connection:
            ledger.grant(connection, account, "auth=off", ledger.MAX_GRANT)

    @in_thread
    def _require_init(self, account: str, key: str) -> None:
        with self.database.reading() as connection:
            if not (key and self._store.is_key_bound(connection, account, "init", key)):
                ledger.require(connection, account, ledger.INIT_PRICE)

    @in_thread
    def _credits(self, account: str, limit: int) -> tuple[ledger.Balance, list[ledger.Entry]]:
        with self.database.reading() as connection:
            return ledger.balance(connection, account), ledger.entries(connection, account, limit)

    @in_thread
    def _made_before(self, account: str, call: Call, key: str, body: str) -> str | None:
        with self.database.reading() as connection:
            return self._store.made_before(connection, account, call, key, body)

    @in_thread
    def _add_session(self, session: Session, key: str, body: str) -> str | None:
        """Store a session and charge for it; what an earlier call with this key made instead, if one did."""
        account = session.account_id
        with self.database.writing() as connection:
            if key and (made := self._store.claim_key(connection, account, "init", key, body, session.session_id)):
                return made
            self._store.add_session(connection, session)
            ledger.charge_init(connection, account, session.session_id)
        return None

    @in_thread
    def _check_job(self, job: Job, key: str) -> str | None:
        """Refuse what ``_add_job`` would, and write nothing; what an earlier call with this key made, if one did."""
        with self.database.reading() as connection:
            body = _digest(job.options)
            if key and (made := self._store.made_before(connection, job.account_id, "transform", key, body)):
                return made
            self._admit(connection, job)
            ledger.require(connection, job.account_id, job.price)
        return None

    @in_thread
    def _add_job(self, job: Job, key: str) -> str | None:
        """Store a job, queue it and hold its price; what an earlier call with this key made instead, if one did."""
        account, body = job.account_id, _digest(job.options)
        with self.database.writing() as connection:
            if key and (made := self._store.claim_key(connection, account, "transform", key, body, job.job_id)):
                return made
            self._admit(connection, job)
            number = self._store.add_job(connection, job)
            self._executor.enqueue(connection, Run(account, job.job_id, job.job_id, 1, number))
            ledger.hold(connection, account, job.job_id)  # last: from here on the account's other jobs wait for this
        return None

    def _admit(self, connection: Connection, job: Job) -> None:
        """Refuse a job that cannot be, or for which there is no room."""
        session = _usable(self._store.hold_session(connection, job.account_id, str(job.options.session_id)))
        if job.options.object_index >= len(session.objects):
            last = len(session.objects) - 1
            raise InvalidArgument.of("object_index", f"0 to {last} in this session, not {job.options.object_index}")
        limits = self._settings.open_jobs_per_account, self._settings.open_jobs
        for count, limit in zip(self._store.count_open(connection, job.account_id), limits, strict=True):
            if count >= limit:
                message = f"{limit} jobs are queued or running already; nothing was charged"
                raise ResourceExhausted(message, reason="QUEUE_FULL", retry_after_s=10.0)


def _digest(options: JobOptions) -> str:
    return sha256_hex(options.model_dump_json().encode())


def _usable(session: Session | None) -> Session:
    if session is None:
        raise NotFound("session_id: no such session", reason="SESSION_NOT_FOUND")
    if session.expires_at <= datetime.now(UTC):
        raise FailedPrecondition("session_id: the session has expired; upload again", reason="SESSION_EXPIRED")
    return session


async def _ignore(fraction: float, phase: str) -> None:
    """Progress that nobody watches."""


def _object(proposal: detect_pb2.Proposal) -> DetectedObject:
    box = box_from_proto(proposal.bbox, "bbox")
    return DetectedObject(proposal.index, proposal.label, proposal.category, box, proposal.score)
