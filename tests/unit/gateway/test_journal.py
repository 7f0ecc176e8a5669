"""The journal under parallel branches and cancellation: no gap, no number twice, one end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import WORK_STEPS, JobError, JobStatus, Step, StepState
from gateway.progress import Hub, Journal, Superseded
from gateway.store import Store
from tests.unit.gateway.stories import JOB, MemoryStore


async def branch(journal: Journal, step: Step, pick: random.Random) -> None:
    """What one stage tells."""
    await journal.running(step)
    for _ in range(pick.randrange(6)):
        await asyncio.sleep(0)
        await journal.running(step, pick.uniform(-0.5, 1.5))
    await journal.note(scene_note=step)
    await journal.done(step, reused=False, fingerprint="f")
    await journal.running(step, 0.5)  # a straggler


async def story(seed: int, cancel_after: int | None) -> MemoryStore:
    """Six parallel branches; where ``cancel_after`` is given, all are cancelled after so many turns of the loop."""
    pick = random.Random(seed)  # noqa: S311
    store = MemoryStore()
    journal = store.journal()
    await journal.begin()
    branches = [asyncio.create_task(branch(journal, step, pick)) for step in WORK_STEPS]
    if cancel_after is not None:
        for _ in range(cancel_after):
            await asyncio.sleep(0)
        for task in branches:
            task.cancel()
    await asyncio.gather(*branches, return_exceptions=True)
    if cancel_after is None:
        await journal.end(JobStatus.SUCCEEDED)
    ends = [asyncio.create_task(journal.end(status)) for status in (JobStatus.CANCELLED, JobStatus.FAILED)]
    await asyncio.sleep(0)
    ends[pick.randrange(2)].cancel()
    await asyncio.gather(*ends, return_exceptions=True)
    await journal.running(Step.RENDERING_VIDEO, 1.0)
    for _ in range(20):
        await asyncio.sleep(0)
    return store


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.one_of(st.none(), st.integers(0, 120)))
def test_any_story_is_whole(seed: int, cancel_after: int | None) -> None:
    store = asyncio.run(story(seed, cancel_after))
    store.check()
    if cancel_after is None:
        assert store.jobs[-1].status is JobStatus.SUCCEEDED
        assert all(record.state is StepState.DONE for record in store.jobs[-1].steps)


async def test_a_change_once_begun_is_finished_though_its_asker_is_cancelled() -> None:
    store = MemoryStore()
    journal = store.journal()
    asker = asyncio.create_task(journal.begin())
    await asyncio.sleep(0)
    asker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asker
    await journal.end(JobStatus.CANCELLED)
    assert [event.status for event in store.events] == [JobStatus.RUNNING, JobStatus.CANCELLED]
    store.check()


async def test_a_store_that_fails_costs_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    journal = store.journal()
    await journal.begin()

    async def broken(*_: Any) -> bool:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(store, "record", broken)
        with pytest.raises(OSError, match="disk full"):
            await journal.running(Step.CROPPING)
    await journal.end(JobStatus.FAILED, error=JobError(Step.CROPPING, "INTERNAL", "no"))
    store.check()


async def test_the_failed_step_is_marked_and_what_never_began_is_cancelled() -> None:
    store = MemoryStore()
    journal = store.journal()
    await journal.begin()
    await journal.running(Step.GENERATING_BG, 0.5)
    await journal.done(Step.CROPPING, reused=True, fingerprint="f")
    await journal.end(JobStatus.FAILED, error=JobError(Step.GENERATING_BG, "R", "m"))
    ended = store.jobs[-1]
    assert ended.record(Step.CROPPING).state is StepState.DONE
    assert ended.record(Step.GENERATING_BG).state is StepState.FAILED
    assert ended.record(Step.GENERATING_BG).fraction == 0.5
    assert ended.record(Step.RENDERING_VIDEO).state is StepState.CANCELLED
    store.check()


async def test_the_failed_step_is_one_that_is_not_done() -> None:
    store = MemoryStore()
    journal = store.journal()
    await journal.begin()
    await journal.done(Step.CROPPING, reused=False, fingerprint="f")  # while somebody says that it failed there
    await journal.end(JobStatus.FAILED, error=JobError(Step.CROPPING, "R", "m"))
    ended = store.jobs[-1]
    assert ended.error == JobError(Step.REMOVING_BG, "R", "m")
    assert [record.step for record in ended.steps if record.state is StepState.FAILED] == [Step.REMOVING_BG]
    store.check()


async def test_a_job_that_fails_after_its_last_step_was_not_whole() -> None:
    store = MemoryStore()
    journal = store.journal()
    await journal.begin()
    for step in WORK_STEPS:
        await journal.done(step, reused=False, fingerprint="f")
    assert journal.job.progress < 1
    await journal.end(JobStatus.FAILED, error=JobError(journal.job.step, "R", "m"))
    ended = store.jobs[-1]
    assert [record.step for record in ended.steps if record.state is StepState.FAILED] == [Step.RENDERING_VIDEO]
    store.check()


async def test_a_failure_after_a_good_end_changes_nothing() -> None:
    store = MemoryStore()
    journal = store.journal()
    await journal.begin()
    await journal.end(JobStatus.SUCCEEDED)
    before = journal.job
    for step in Step:  # the last of them is what a job that has ended stands at
        with pytest.raises(Superseded):
            await journal.end(JobStatus.FAILED, error=JobError(step, "R", "m"))
    assert journal.job == before


async def test_small_moves_are_no_events() -> None:
    store = MemoryStore()
    journal = store.journal()
    for number in range(1000):
        await journal.running(Step.RENDERING_VIDEO, number / 1000)
    assert len(store.events) <= 60


class Growing:
    """A store whose events come while they are read."""

    def __init__(self, memory: MemoryStore) -> None:
        self._memory, self.reads = memory, 0

    async def events(self, _: str, __: str, after: int) -> list[Any]:
        self.reads += 1
        found = [event for event in self._memory.events if event.seq > after]
        await asyncio.sleep(0)  # news that come now must not be lost
        return found

    async def last_seqs(self, _: object) -> dict[str, int]:
        return {"job": len(self._memory.events)}


async def test_followers_lose_no_news_and_leave_nothing_behind() -> None:
    memory = MemoryStore()
    hub = Hub(cast(Store, Growing(memory)), 0.01)
    journal = Journal(cast(Store, memory), hub, JOB, 0, memory.epoch)

    async def read(after: int) -> list[int]:
        return [event.seq async for event in hub.follow("local", "job", after)]

    readers = [asyncio.create_task(read(after)) for after in (0, 0, 3)]
    await journal.begin()
    await asyncio.gather(*(branch(journal, step, random.Random(1)) for step in WORK_STEPS))  # noqa: S311
    late = asyncio.create_task(read(1))
    await journal.end(JobStatus.SUCCEEDED)
    async with asyncio.timeout(10):
        seen = await asyncio.gather(*readers, late)
    last = memory.events[-1].seq
    assert seen == [list(range(first, last + 1)) for first in (1, 1, 4, 2)]
    assert not hub._tails
    await hub.stop()


async def test_a_hundred_followers_read_the_table_once_and_only_their_account_is_told() -> None:
    memory = MemoryStore()
    growing = Growing(memory)
    hub = Hub(cast(Store, growing), 60.0)
    journal = Journal(cast(Store, memory), hub, JOB, 0, memory.epoch)
    await journal.begin()
    assert hub.seen("local", "job") is None, "nobody follows it yet"
    readers = [asyncio.create_task(_numbers(hub)) for _ in range(100)]
    await asyncio.sleep(0.01)
    seen = hub.seen("local", "job")
    assert seen is not None and seen.seq == 1
    assert hub.seen("others", "job") is None
    await journal.end(JobStatus.CANCELLED)
    assert await asyncio.gather(*readers) == [[1, 2]] * 100
    assert growing.reads == 1
    await hub.stop()


async def test_followers_hear_what_another_replica_tells() -> None:
    memory = MemoryStore()
    hub = Hub(cast(Store, Growing(memory)), 0.01)
    journal = memory.journal()  # which tells another hub
    reader = asyncio.create_task(_numbers(hub))
    await journal.begin()
    await journal.running(Step.CROPPING)
    await journal.end(JobStatus.CANCELLED)
    async with asyncio.timeout(10):
        assert await reader == [1, 2, 3]
    await hub.stop()


async def _numbers(hub: Hub) -> list[int]:
    return [event.seq async for event in hub.follow("local", "job", 0)]


async def test_who_was_superseded_writes_no_more() -> None:
    memory = MemoryStore()
    journal = memory.journal()
    await journal.begin()
    memory.epoch += 1
    for change in (journal.running(Step.CROPPING), journal.end(JobStatus.FAILED)):
        with pytest.raises(Superseded):
            await change
    assert len(memory.events) == 1
