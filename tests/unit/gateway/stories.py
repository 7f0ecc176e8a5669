"""A table of one job in memory that keeps whatever is recorded, slowly, under the store's own rule: a job ends once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from gateway.model import WORK_STEPS, Job, JobEvent, Step, StepState
from gateway.options import JobOptions, PromptBackground
from gateway.progress import Hub, Journal
from gateway.store import Store

JOB = Job(
    "job",
    "local",
    JobOptions(
        session_id=UUID(int=1),
        object_index=0,
        background=PromptBackground(prompt="a beach"),
        camera_preset="turntable",
    ),
    datetime(2026, 1, 1, tzinfo=UTC),
)


class MemoryStore:
    """What a ``Journal`` needs of a store."""

    def __init__(self) -> None:
        self.jobs: list[Job] = [JOB]
        self.events: list[JobEvent] = []
        self.epoch, self.settled = 1, 0

    async def record(self, job: Job, happened: JobEvent, epoch: int, settle: object = None) -> bool:
        """See ``Store.record``."""
        await asyncio.sleep(0)
        if self.jobs[-1].status.terminal or epoch != self.epoch:
            return False
        self.settled += settle is not None
        await asyncio.sleep(0)  # where a cancel finds a write half done
        self.jobs.append(job)
        self.events.append(happened)
        return True

    def journal(self) -> Journal:
        """A journal that writes here."""
        store = cast(Store, self)
        return Journal(store, Hub(store, 0.1), JOB, 0, self.epoch)

    def check(self) -> None:
        """What holds for every story that has ended."""
        events, jobs = self.events, self.jobs
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [event.status.terminal for event in events] == [False] * (len(events) - 1) + [True]
        assert self.settled == 1, "by the event that ended it"
        assert [job.status for job in jobs[1:]] == [event.status for event in events], "rows and events agree"
        order: list[Any] = list(Step)
        steps = [order.index(job.step) for job in jobs]
        assert steps == sorted(steps), "the step never goes back"
        progress = [job.progress for job in jobs]
        assert progress == sorted(progress)
        assert progress[1:] == [event.progress for event in events]
        states = [StepState.PENDING, StepState.RUNNING, StepState.DONE, StepState.FAILED, StepState.CANCELLED]
        for step in WORK_STEPS:
            ranks = [states.index(job.record(step).state) for job in jobs]
            assert ranks == sorted(ranks)
        for record in jobs[-1].steps:
            assert record.state not in (StepState.PENDING, StepState.RUNNING), "nothing is left open"
            assert record.ended_at is not None
            assert record.started_at is None or record.started_at <= record.ended_at
