"""One job's story: the journal that writes it, and the hub that tells watchers there is more to read."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.model import WORK_STEPS, Job, JobError, JobEvent, JobStatus, Step, StepRecord, StepState
from gateway.store import Store

_MIN_FRACTION, _MIN_SECONDS = 0.02, 0.25
"""Progress within a step becomes an event only when it moved by so much, or after so long."""


class Hub:
    """Wakes whoever watches a job of this process."""

    def __init__(self) -> None:
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def changed(self, job_id: str) -> None:
        """There is a new event to read."""
        for watcher in self._watchers.get(job_id, ()):
            watcher.set()

    @contextlib.contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job has news."""
        news = asyncio.Event()
        self._watchers[job_id].add(news)
        try:
            yield news
        finally:
            self._watchers[job_id].discard(news)
            if not self._watchers[job_id]:
                del self._watchers[job_id]


class Journal:
    """The only writer of a running job; parallel branches may call it at the same time.

    A change once begun is finished even if who asked for it is cancelled, so that numbers and rows never disagree.
    """

    def __init__(self, store: Store, hub: Hub, job: Job, seq: int) -> None:
        self._store, self._hub, self._job, self._seq = store, hub, job, seq
        self._lock = asyncio.Lock()
        self._reported: dict[Step, float] = {}

    @property
    def job(self) -> Job:
        """The job as it is now."""
        return self._job

    async def note(self, **changes: Any) -> None:
        """Set fields of the job; they are stored with its next event."""
        async with self._lock:
            self._job = replace(self._job, **changes)

    async def begin(self) -> None:
        """The job leaves the queue."""
        now = datetime.now(UTC)
        await self._change(lambda job: (replace(job, status=JobStatus.RUNNING, started_at=now), job.steps[0]))

    async def running(self, step: Step, fraction: float = 0.0) -> None:
        """The step began, or came to ``fraction``; small moves are not worth an event."""

        def change(job: Job) -> tuple[Job, StepRecord] | None:
            old = job.record(step)
            if old.state not in (StepState.PENDING, StepState.RUNNING):
                return None  # a service that goes back in its phases takes no step back
            new = replace(
                old,
                state=StepState.RUNNING,
                fraction=max(old.fraction, min(fraction, 1.0)),
                started_at=old.started_at or datetime.now(UTC),
            )
            moved = new.fraction - old.fraction
            long_ago = time.monotonic() - self._reported.get(step, 0.0) >= _MIN_SECONDS
            if old.state is StepState.RUNNING and not (moved >= _MIN_FRACTION or (moved > 0 and long_ago)):
                return None
            self._reported[step] = time.monotonic()
            return _with(job, new), new

        await self._change(change)

    async def done(self, step: Step, *, reused: bool, fingerprint: str) -> None:
        """The step ended well."""

        def change(job: Job) -> tuple[Job, StepRecord]:
            now = datetime.now(UTC)
            record = StepRecord(step, StepState.DONE, 1.0, job.record(step).started_at or now, now, reused, fingerprint)
            return _with(job, record), record

        await self._change(change)

    async def end(self, status: JobStatus, *, error: JobError | None = None, **changes: Any) -> None:
        """The job ends, unless it had already ended; steps still open end with it."""
        state = {JobStatus.SUCCEEDED: StepState.DONE, JobStatus.FAILED: StepState.FAILED}.get(
            status, StepState.CANCELLED
        )

        def change(job: Job) -> tuple[Job, StepRecord]:
            now = datetime.now(UTC)
            told = error and replace(error, step=_blamed(job, error.step))
            steps = tuple(_closed(record, told.step if told else None, now) for record in job.steps)
            ended = replace(job, status=status, steps=steps, ended_at=now, error=told, **changes)
            return ended, StepRecord(Step.DONE, state, float(state is StepState.DONE))

        await self._change(change)

    async def _change(self, change: Callable[[Job], tuple[Job, StepRecord] | None]) -> None:
        await asyncio.shield(self._commit(change))

    async def _commit(self, change: Callable[[Job], tuple[Job, StepRecord] | None]) -> None:
        async with self._lock:
            changed = change(self._job)
            if changed is None:
                return
            job, record = changed
            event = JobEvent(
                self._seq + 1, datetime.now(UTC), record.step, record.state, record.fraction, job.status, job.progress
            )
            if await self._store.record(job, event):
                self._job, self._seq = job, event.seq
                self._hub.changed(job.job_id)


def _with(job: Job, record: StepRecord) -> Job:
    position = WORK_STEPS.index(record.step)
    return replace(job, steps=(*job.steps[:position], record, *job.steps[position + 1 :]))


def _blamed(job: Job, step: Step) -> Step:
    """The step that a failure is told of: the one it was met in, unless that was done before the failure is stored."""
    open_still = step in WORK_STEPS and job.record(step).state is not StepState.DONE
    return step if open_still else job.step


def _closed(record: StepRecord, failed: Step | None, now: datetime) -> StepRecord:
    if record.state is StepState.DONE and record.step is not failed:  # the last may be: its film was never delivered
        return record
    state = StepState.FAILED if record.step is failed else StepState.CANCELLED
    return replace(record, state=state, ended_at=now)


async def follow(store: Store, hub: Hub, account: str, job_id: str, after: int) -> AsyncIterator[JobEvent]:
    """The job's events after number ``after``, as they come, up to and with the terminal one."""
    with hub.watching(job_id) as news:
        while True:
            news.clear()
            for event in await store.events(account, job_id, after):
                after = event.seq
                yield event
                if event.status.terminal:
                    return
            await news.wait()
