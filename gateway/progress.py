"""One job's story: the journal that writes it, and the hub that hands it to all who watch."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway import ledger, metrics, webhooks
from gateway.model import WORK_STEPS, Job, JobError, JobEvent, JobStatus, Step, StepRecord, StepState
from gateway.store import Store
from lensora.core.errors import NotFound

_log = structlog.get_logger()

_MIN_FRACTION, _MIN_SECONDS = 0.02, 0.25
"""Progress within a step becomes an event only when it moved by so much, or after so long."""


_AFTER_FAILURE_SECONDS = 1.0

_LOOKS_ELSEWHERE = 10
"""To one look at the jobs that run here."""


class _Tail:
    """The events of one job, as far as this replica has read them, for all who watch it."""

    def __init__(self, account: str) -> None:
        self.account, self.watchers = account, 0
        self.events: list[JobEvent] = []
        self.news = asyncio.Event()
        self.reading = asyncio.Lock()
        self.gone = False
        """Whether the job was deleted."""
        self.begun = False
        """Whether the table was read once; from then on the poller and the journals keep it up."""

    @property
    def last(self) -> int:
        return self.events[-1].seq if self.events else 0

    def add(self, events: Iterable[JobEvent]) -> None:
        """Take what follows on from the last, and wake the watchers."""
        before = self.last
        self.events.extend(event for event in events if event.seq > before)
        if self.last > before:
            self.wake()

    def wake(self) -> None:
        """Let the watchers look."""
        self.news.set()
        self.news = asyncio.Event()


class Hub:
    """One tail a watched job, whoever watches and however many; no watcher waits for another.

    Events of jobs that run in this process come straight from their journal, those of others by polling the table; it
    is read now and then for the former, too, whom another replica may have ended.
    """

    def __init__(self, store: Store, poll_seconds: float) -> None:
        self._store, self._seconds = store, poll_seconds
        self._tails: dict[str, _Tail] = {}
        self._here: set[str] = set()
        self._poller: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def running_here(self, job_id: str) -> Iterator[None]:
        """The time in which this process works on a job."""
        self._here.add(job_id)
        try:
            yield
        finally:
            self._here.discard(job_id)

    def tell(self, job_id: str, event: JobEvent) -> None:
        """An event was stored."""
        tail = self._tails.get(job_id)
        if tail is not None and event.seq == tail.last + 1:  # else the poller reads what is missing
            tail.add((event,))

    def seen(self, account: str, job_id: str) -> JobEvent | None:
        """The last event of a job of this account's, where it is followed here already."""
        tail = self._tails.get(job_id)
        return tail.events[-1] if tail is not None and tail.account == account and tail.events else None

    async def follow(self, account: str, job_id: str, after: int) -> AsyncIterator[JobEvent]:
        """The job's events after number ``after``, as they come, up to and with the terminal one.

        Raises:
            NotFound: reason ``JOB_NOT_FOUND``: the job was deleted before this replica saw it end.
        """
        tail = self._tails.setdefault(job_id, _Tail(account))
        tail.watchers += 1
        metrics.watchers_open.add(1)
        try:
            if self._poller is None:
                nobody = contextvars.Context()  # the poller's log is not about who came first
                self._poller = asyncio.create_task(self._poll(), context=nobody)
            await self._begin(job_id, tail)
            while True:
                news = tail.news
                for event in tail.events[after:]:  # they are numbered from 1, without gaps
                    after = event.seq
                    yield event
                    if event.status.terminal:
                        return
                if tail.gone:
                    raise NotFound("job_id: the job was deleted", reason="JOB_NOT_FOUND")
                if after >= tail.last:
                    await news.wait()
        finally:
            tail.watchers -= 1
            metrics.watchers_open.add(-1)
            if not tail.watchers and self._tails.get(job_id) is tail:
                del self._tails[job_id]

    async def stop(self) -> None:
        """Stop polling."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)

    async def _begin(self, job_id: str, tail: _Tail) -> None:
        """Read the table for the first who follows; the others need not."""
        async with tail.reading:
            if not tail.begun:
                tail.add(await self._store.events(tail.account, job_id, tail.last))
                tail.begun = True

    async def _read(self, job_id: str, tail: _Tail) -> None:
        async with tail.reading:
            tail.add(await self._store.events(tail.account, job_id, tail.last))

    async def _poll(self) -> None:
        for look in itertools.count():
            await asyncio.sleep(self._seconds)
            thorough = look % _LOOKS_ELSEWHERE == 0
            some = {job_id: tail for job_id, tail in self._tails.items() if thorough or job_id not in self._here}
            if not some:
                continue
            try:
                seqs = await self._store.last_seqs(list(some))
                for job_id, tail in some.items():
                    if tail.last < seqs.get(job_id, 0):
                        await self._read(job_id, tail)
                    elif thorough and job_id not in seqs and not await self._store.standing(tail.account, job_id):
                        tail.gone = True
                        tail.wake()
            except DBAPIError as error:  # a database that is down would fail many times a second
                _log.error("events cannot be read", error=type(error.orig).__name__)
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)
            except Exception as error:  # noqa: BLE001 - were this to end, watchers would wait for ever
                _log.error("events cannot be read", exc_info=error)


class Superseded(Exception):
    """Somebody else ended the job or took it over; whoever meets this stops, and tells nobody."""


class Journal:
    """The only writer of a running job; parallel branches may call it at the same time.

    A change once begun is finished even if who asked for it is cancelled, so that numbers and rows never disagree.
    The last change settles the job's hold in the same transaction.

    Args:
        store: where the story is written.
        hub: whom to tell.
        job: as it is now.
        seq: number of its last event.
        epoch: what ``Store.take`` gave; every change raises ``Superseded`` once another has taken the job.
    """

    def __init__(self, store: Store, hub: Hub, job: Job, seq: int, epoch: int) -> None:
        self._store, self._hub, self._job, self._seq, self._epoch = store, hub, job, seq, epoch
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
        """The job leaves the queue; one that is taken up again has left it before."""

        def change(job: Job) -> tuple[Job, StepRecord] | None:
            if job.status is JobStatus.RUNNING:
                return None
            return replace(job, status=JobStatus.RUNNING, started_at=datetime.now(UTC)), job.steps[0]

        await self._change(change)

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

    async def done(self, step: Step, *, reused: bool, fingerprint: str, notice: str = "") -> None:
        """The step ended well."""

        def change(job: Job) -> tuple[Job, StepRecord] | None:
            if job.record(step).state is StepState.DONE:
                return None  # told before the job was taken up again
            now = datetime.now(UTC)
            began = job.record(step).started_at or now
            record = StepRecord(step, StepState.DONE, 1.0, began, now, reused, fingerprint, notice)
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
            settle = partial(_settle, job) if job.status.terminal else None
            if not await self._store.record(job, event, self._epoch, settle):
                raise Superseded(job.job_id)
            if job.status.terminal:
                metrics.jobs_ended.add(1, {"status": job.status})
                metrics.credits_refunded.add(job.refunded)
            self._job, self._seq = job, event.seq
            self._hub.tell(job.job_id, event)


def _settle(job: Job, connection: Connection) -> None:
    """What the end of a job brings with it."""
    succeeded = job.status is JobStatus.SUCCEEDED
    ledger.settle(connection, job.account_id, job.job_id, succeeded=succeeded)
    webhooks.announce(connection, job)


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
