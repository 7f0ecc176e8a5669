"""The use cases: a photo becomes a session, a session's object a job; jobs are read, watched, cancelled, listed."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import structlog

from gateway import pipeline
from gateway.model import (
    ArtifactKind,
    DetectedObject,
    Job,
    JobError,
    JobEvent,
    JobStatus,
    Session,
    Step,
    StoredBlob,
)
from gateway.options import JobOptions, PictureBackground, SessionOptions
from gateway.progress import Hub, Journal, follow
from gateway.settings import Settings
from gateway.stages import Stages, Work
from gateway.store import Store
from lensora.core.blobs import FolderStore
from lensora.core.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    LensoraError,
    NotFound,
    Unavailable,
)
from lensora.core.imaging import MAX_FILE_BYTES
from lensora.detect.v1 import detect_pb2
from lensora.runtime.convert import box_from_proto

_log = structlog.get_logger()

_STOPPED = Unavailable("the gateway was stopped in the middle of this job; start it again", reason="GATEWAY_STOPPED")


class Studio:
    """All that callers can do, whatever they speak.

    Jobs run as tasks of this process; a job that a stopped process left behind is marked as failed at the next start.
    """

    def __init__(self, settings: Settings, store: Store, blobs: FolderStore, stages: Stages) -> None:
        self._settings, self._store, self._blobs, self._stages = settings, store, blobs, stages
        self._hub = Hub()
        self._turns = asyncio.Semaphore(settings.running_jobs)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    async def start(self) -> None:
        """Open the store, and end what an earlier process left unfinished."""
        await self._store.open()
        await asyncio.to_thread(self._blobs.sweep)
        for job in await self._store.unfinished_jobs():
            journal = Journal(self._store, self._hub, job, await self._store.last_seq(job.job_id))
            await _fail(journal, job.step, _STOPPED)

    async def stop(self) -> None:
        """End what runs, and close everything."""
        self._stopping = True
        for task in self._tasks.values():
            if not task.cancelling():
                task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._stages.close()
        await self._store.close()

    async def create_session(self, account: str, options: SessionOptions, chunks: AsyncIterator[bytes]) -> Session:
        """Read an upload within bounds, and detect what is in it.

        Raises:
            InvalidArgument: field ``image``: empty, too large, or no picture that we take.
        """
        image = bytearray()
        async for chunk in chunks:
            if len(image) + len(chunk) > MAX_FILE_BYTES:
                raise InvalidArgument.of("image", f"at most {MAX_FILE_BYTES:,} bytes", reason="IMAGE_TOO_LARGE")
            image += chunk
        if not image:
            raise InvalidArgument.of("image", "required: at least one byte", reason="IMAGE_EMPTY")
        work, started = Work(account, uuid.uuid4().hex, _ignore), time.monotonic()
        result = (await self._stages.detect(work, bytes(image), options.max_objects)).result
        now = datetime.now(UTC)
        session = Session(
            session_id=str(uuid.uuid4()),
            account_id=account,
            photo=StoredBlob(result.photo.sha256, result.photo.size, result.photo.media_type),
            photo_width=result.width,
            photo_height=result.height,
            objects=tuple(_object(proposal) for proposal in result.proposals),
            detect_elapsed_ms=round((time.monotonic() - started) * 1000),
            created_at=now,
            expires_at=now + timedelta(hours=self._settings.session_hours),
        )
        await self._store.add_session(session)
        return session

    async def create_job(self, account: str, options: JobOptions, picture: bytes = b"") -> Job:
        """Accept a job and start it, or queue it.

        Args:
            account: whose job.
            options: what to make.
            picture: what ``options.background`` has the digest of, if that is a picture.

        Raises:
            NotFound: no such session.
            FailedPrecondition: reason ``SESSION_EXPIRED``.
            InvalidArgument: field ``object_index``.
        """
        session = await self._store.session(account, str(options.session_id))
        if session is None:
            raise NotFound("session_id: no such session", reason="SESSION_NOT_FOUND")
        if session.expires_at <= datetime.now(UTC):
            raise FailedPrecondition("session_id: the session has expired; upload again", reason="SESSION_EXPIRED")
        if options.object_index >= len(session.objects):
            last = len(session.objects) - 1
            raise InvalidArgument.of("object_index", f"0 to {last} in this session, not {options.object_index}")
        if isinstance(options.background, PictureBackground):
            await asyncio.to_thread(self._blobs.put, account, picture)
        job = Job(str(uuid.uuid4()), account, options, created_at=datetime.now(UTC))
        await self._store.add_job(job)
        task = asyncio.create_task(self._run(job, session))
        self._tasks[job.job_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.job_id))
        return job

    async def job(self, account: str, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            NotFound: not in this account.
        """
        job = await self._store.job(account, job_id)
        if job is None:
            raise NotFound("job_id: no such job", reason="JOB_NOT_FOUND")
        return job

    async def watch(self, account: str, job_id: str, after: int) -> AsyncIterator[JobEvent]:
        """The job's events after number ``after``, up to and with the terminal one; none where that was seen."""
        if after < 0:
            raise InvalidArgument.of("after_seq", f"0 or more, not {after}")
        after = min(after, await self._store.last_seq(job_id))  # else who asks for too much waits for ever
        job = await self.job(account, job_id)
        if job.status.terminal and after >= await self._store.last_seq(job_id):
            return
        async for event in follow(self._store, self._hub, account, job_id, after):
            yield event

    async def cancel(self, account: str, job_id: str) -> Job:
        """Stop the job's work, in the services too; harmless on a job that has ended."""
        await self.job(account, job_id)
        task = self._tasks.get(job_id)
        if task is not None:
            if not task.cancelling():  # a second one would end the first before its event is stored
                task.cancel()
            await asyncio.wait([task])
        return await self.job(account, job_id)

    async def list_jobs(self, account: str, limit: int, before: int | None) -> tuple[list[Job], int | None]:
        """A page of jobs, newest first, and where the next page begins."""
        rows = await self._store.list_jobs(account, limit + 1, before)
        page = rows[:limit]
        return [job for _, job in page], page[-1][0] if len(rows) > limit else None

    async def artifact(self, account: str, job_id: str, kind: ArtifactKind) -> tuple[StoredBlob, BinaryIO]:
        """One artifact of a job that succeeded, and its bytes.

        Raises:
            FailedPrecondition: reason ``JOB_NOT_SUCCEEDED``.
            NotFound: reason ``ARTIFACT_NOT_ASKED_FOR``: the film with alpha of a job with another background.
        """
        job = await self.job(account, job_id)
        if job.status is not JobStatus.SUCCEEDED:
            raise FailedPrecondition(f"the job is {job.status}; it has no artifacts", reason="JOB_NOT_SUCCEEDED")
        if kind not in job.artifacts:
            raise NotFound("kind: only a job with a transparent background has it", reason="ARTIFACT_NOT_ASKED_FOR")
        stored = job.artifacts[kind]
        return stored, await asyncio.to_thread(self._blobs.open, account, stored.sha256)

    async def _run(self, job: Job, session: Session) -> None:
        """One job, to its terminal state, whatever happens."""
        journal = Journal(self._store, self._hub, job, 0)
        log = _log.bind(job_id=job.job_id)
        try:
            async with self._turns:
                await journal.begin()
                async with asyncio.timeout(self._settings.job_seconds):
                    artifacts = await pipeline.run(self._stages, journal, session)
            await journal.end(JobStatus.SUCCEEDED, artifacts=artifacts)
        except asyncio.CancelledError:
            if self._stopping:
                await _fail(journal, journal.job.step, _STOPPED)
            else:
                await journal.end(JobStatus.CANCELLED)
        except pipeline.StageFailed as failure:
            await _fail(journal, failure.step, failure.error)
        except TimeoutError:
            message = f"not done within {self._settings.job_seconds:g} s"
            await _fail(journal, journal.job.step, FailedPrecondition(message, reason="JOB_TIMED_OUT"))
        except Exception as error:
            log.error("job", exc_info=error)
            await _fail(journal, journal.job.step, Internal("an unexpected error; see the gateway's log"))
        log.info("job", status=journal.job.status)


async def _fail(journal: Journal, step: Step, error: LensoraError) -> None:
    await journal.end(JobStatus.FAILED, error=JobError(step, error.reason, error.message))


async def _ignore(fraction: float, phase: str) -> None:
    """Progress that nobody watches."""


def _object(proposal: detect_pb2.Proposal) -> DetectedObject:
    box = box_from_proto(proposal.bbox, "bbox")
    return DetectedObject(proposal.index, proposal.label, proposal.category, box, proposal.score)
