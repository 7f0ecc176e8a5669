"""One run of a job: from its photo to its artifacts, or to the failure that its caller is told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import DBAPIError

from gateway import pipeline
from gateway.model import Job, JobError, JobStatus, Step
from gateway.progress import Hub, Journal, Superseded
from gateway.settings import Settings
from gateway.stages import Stages
from gateway.store import Run, Store
from lensora.core.errors import FailedPrecondition, Internal, LensoraError, NotFound, Unavailable
from lensora.runtime.telemetry import identify, span

_log = structlog.get_logger()

_LOST = Unavailable("the job was lost with its gateway too many times; start it again", reason="JOB_LOST")


class Runner:
    """What a replica's executor calls; ``settings.running_jobs`` at a time."""

    def __init__(self, settings: Settings, store: Store, hub: Hub, stages: Stages) -> None:
        self._settings, self._store, self._hub, self._stages = settings, store, hub, stages
        self._turns = asyncio.Semaphore(settings.running_jobs)

    async def work(self, job_id: str, workflow_id: str) -> None:
        """One run of a job; the job ends in it, unless the run is cancelled or another takes over."""
        async with self._turns:
            taken = await self._store.take(job_id, workflow_id)
            if taken is None:
                return
            journal = Journal(self._store, self._hub, *taken)
            with self._hub.running_here(job_id), span("job", parent=journal.job.traceparent) as told:
                identify(job_id=job_id, account=journal.job.account_id)
                try:
                    await self._run(journal)
                except Superseded:
                    _log.info("job taken from this run")
                    return
                told.set_attribute("lensora.status", journal.job.status)
                _log.info("job", status=journal.job.status)

    async def give_up(self, run: Run) -> None:
        """End a job whose runs were all lost."""
        taken = await self._store.take(run.job_id, run.workflow_id)
        if taken is not None:
            await _fail(Journal(self._store, self._hub, *taken), taken[0].step, _LOST)

    async def _run(self, journal: Journal) -> None:
        job = journal.job
        try:
            session = await self._store.session(job.account_id, str(job.options.session_id))
            if session is None:
                raise pipeline.StageFailed(job.step, NotFound("the session was deleted", reason="SESSION_NOT_FOUND"))
            await journal.begin()
            async with asyncio.timeout(self._settings.job_seconds - _age(journal.job)):
                artifacts = await pipeline.run(self._stages, journal, session)
            await journal.end(JobStatus.SUCCEEDED, artifacts=artifacts)
        except pipeline.StageFailed as failure:
            await _fail(journal, failure.step, failure.error)
        except TimeoutError:
            message = f"not done within {self._settings.job_seconds:g} s"
            await _fail(journal, journal.job.step, FailedPrecondition(message, reason="JOB_TIMED_OUT"))
        except (Superseded, DBAPIError):  # without a database nothing can be told; the sweep gives the job a new run
            raise
        except Exception as error:  # noqa: BLE001 - the log tells it, and the job must end
            _log.error("job", exc_info=error)
            await _fail(journal, journal.job.step, Internal("an unexpected error; see the gateway's log"))


async def _fail(journal: Journal, step: Step, error: LensoraError) -> None:
    await journal.end(JobStatus.FAILED, error=JobError(step, error.reason, error.message))


def _age(job: Job) -> float:
    """Seconds since the job began."""
    return (datetime.now(UTC) - job.started_at).total_seconds() if job.started_at else 0.0
