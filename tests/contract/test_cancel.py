"""CancelJob: the work stops everywhere, at once, and is told once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lensora.studio.v1 import studio_pb2
from tests.contract.harness import TERMINAL, Gateway, running_gateway, spec_of
from tests.contract.scripted import JOB_METHODS, Call, Services

CANCELLED = studio_pb2.JOB_STATUS_CANCELLED


@pytest.mark.parametrize("name", JOB_METHODS)
async def test_a_cancel_reaches_the_services(gateway: Gateway, services: Services, name: str) -> None:
    services[name].held()
    job = await gateway.start()
    await services[name].begun()
    start = time.monotonic()
    assert (await gateway.cancel(job.job_id)).status == CANCELLED
    call = await services[name].calls[0].gone()
    assert call.cancelled
    assert time.monotonic() - start < 1.0
    ended = await gateway.finished(job.job_id)
    assert ended.status == CANCELLED
    assert {record.state for record in ended.steps} <= {studio_pb2.STEP_STATE_DONE, studio_pb2.STEP_STATE_CANCELLED}
    await gateway.settled(gateway.staged)


async def test_a_cancel_reaches_a_service_that_floods_with_progress(gateway: Gateway, services: Services) -> None:
    """Then the gateway is found writing its journal, not waiting for the service."""

    async def flood(_: Call) -> AsyncIterator[Any]:
        number = 0
        while True:
            number += 1
            yield services["Segment"].progress(1 - 0.9**number, "removing-bg")
            await asyncio.sleep(0)

    services["Segment"].script = flood
    for number in (1, 2, 3):
        job = await gateway.start()
        call = await services["Segment"].begun(number)
        await gateway.until(job.job_id, studio_pb2.STEP_REMOVING_BG, studio_pb2.STEP_STATE_RUNNING)
        assert (await gateway.cancel(job.job_id)).status == CANCELLED
        assert (await call.gone()).cancelled


async def test_a_cancel_stops_all_branches(gateway: Gateway, services: Services) -> None:
    services["Segment"].held()
    services["BuildScene"].held()
    job = await gateway.start()
    await asyncio.gather(services["Segment"].begun(), services["BuildScene"].begun())
    await gateway.cancel(job.job_id)
    calls = [await services[name].calls[0].gone() for name in ("Segment", "BuildScene")]
    assert all(call.cancelled for call in calls)
    assert set(services.counts()) == {"DetectObjects", "Segment", "BuildScene"}


async def test_a_second_cancel_is_harmless(gateway: Gateway, services: Services) -> None:
    services["Reconstruct"].held()
    job = await gateway.start()
    await services["Reconstruct"].begun()
    answers = await asyncio.gather(*(gateway.cancel(job.job_id) for _ in range(5)))
    assert {answer.status for answer in answers} == {CANCELLED}, "no cancel answers before the job has ended"
    assert answers[0] == await gateway.cancel(job.job_id) == await gateway.finished(job.job_id)


async def test_a_cancel_after_the_end_changes_nothing(gateway: Gateway, services: Services) -> None:
    done = await gateway.make()
    assert await gateway.cancel(done.job_id) == done
    services["Segment"].error = RuntimeError("broken")  # type: ignore[assignment]
    failed = await gateway.finished((await gateway.start(object_index=1)).job_id)
    assert await gateway.cancel(failed.job_id) == failed


async def test_a_queued_job_can_be_cancelled(tmp_path: Path, services: Services) -> None:
    hold = services["Segment"].held()
    async with running_gateway(tmp_path, services, running_jobs=1) as gateway:
        session = await gateway.upload()
        first, second, third = [
            await gateway.create(spec_of(session.session_id, object_index=index)) for index in range(3)
        ]
        await services["Segment"].begun()
        assert (await gateway.cancel(second.job_id)).status == CANCELLED
        story = await gateway.story(second.job_id)
        assert len(story) == 1
        assert not story[0].job.HasField("started_at")
        hold.set()
        for job in (first, third):
            assert (await gateway.finished(job.job_id)).status == studio_pb2.JOB_STATUS_SUCCEEDED
    assert second.job_id not in {call.request_id for call in services["Segment"].calls}


async def test_a_cancel_frees_its_place(tmp_path: Path, services: Services) -> None:
    services["Segment"].held()
    async with running_gateway(tmp_path, services, running_jobs=1) as gateway:
        first, second = await gateway.start(), await gateway.start(object_index=1)
        await services["Segment"].begun()
        await gateway.cancel(first.job_id)
        call = await services["Segment"].begun(2)
        assert call.request_id == second.job_id


async def test_a_cancel_at_any_moment_leaves_one_whole_story(gateway: Gateway, services: Services) -> None:
    pick = random.Random(3)  # noqa: S311
    session = await gateway.upload()
    for method in JOB_METHODS:
        services[method].to_target = True
        services[method].phases = [(number / 5, "") for number in range(6)]
    for seed in range(6):
        job = await gateway.create(spec_of(session.session_id, seed=seed))
        after = pick.randrange(1, 25)
        async for response in gateway.watch(job.job_id):
            if response.event.seq >= after:
                break
        answer = await gateway.cancel(job.job_id)
        assert answer.status in TERMINAL
        assert answer == await gateway.finished(job.job_id)
    await gateway.settled(gateway.staged)
    await gateway.settled(lambda: gateway.studio._executor._running)
