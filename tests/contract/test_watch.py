"""WatchJob: every event once, in order, from wherever a watcher left off."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import grpc
import pytest
from sqlalchemy import delete

from gateway.store.tables import job_events, jobs
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, check_story, collect, refused
from tests.contract.scripted import PATIENCE, Services


async def test_replay_from_any_number(gateway: Gateway) -> None:
    job = await gateway.make()
    story = await gateway.story(job.job_id)
    assert len(story) > 10
    for after in range(len(story) + 1):
        assert await collect(gateway.watch(job.job_id, after)) == story[after:]


@pytest.mark.parametrize("after", [10**6, 2**63 - 1])
async def test_a_number_past_the_end_is_the_end(gateway: Gateway, services: Services, after: int) -> None:
    hold = services["Segment"].held()
    job = await gateway.start()
    await gateway.until(job.job_id, studio_pb2.STEP_GENERATING_BG, studio_pb2.STEP_STATE_DONE)
    stream = gateway.watch(job.job_id, after)
    rest = asyncio.create_task(collect(stream))
    await asyncio.sleep(0)
    hold.set()
    seen = await rest
    story = await gateway.story(job.job_id)
    assert seen == story[-len(seen) :], "it gets what comes from now on, and the end"
    assert seen[-1].HasField("job")
    assert await collect(gateway.watch(job.job_id, after)) == []


async def test_a_watcher_resumes_in_the_middle_of_a_running_job(gateway: Gateway, services: Services) -> None:
    hold = services["Reconstruct"].held()
    job = await gateway.start()
    first = []
    async for response in gateway.watch(job.job_id):
        first.append(response)
        if response.event.step == studio_pb2.STEP_COMPOSITING:
            break
    rest = asyncio.create_task(collect(gateway.watch(job.job_id, first[-1].event.seq)))
    await services["Reconstruct"].begun()
    hold.set()
    check_story(first + await rest)


async def test_a_negative_number_is_refused(gateway: Gateway) -> None:
    job = await gateway.make()
    error = await refused(collect(gateway.watch(job.job_id, -1)), grpc.StatusCode.INVALID_ARGUMENT)
    assert [violation.field for violation in error.violations] == ["after_seq"]


@pytest.mark.parametrize("job_id", [str(uuid.uuid4()), "", "a' OR 1=1 --", "\x00", "é" * 10_000])
async def test_an_unknown_job_is_not_found(gateway: Gateway, job_id: str) -> None:
    for call in (
        collect(gateway.watch(job_id)),
        gateway.get(job_id),
        gateway.cancel(job_id),
        gateway.download(job_id, studio_pb2.ARTIFACT_KIND_VIDEO),
    ):
        await refused(call, grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")


async def test_another_accounts_job_is_not_found(gateway: Gateway) -> None:
    mine = await gateway.store.job("local", (await gateway.make()).job_id)
    assert mine is not None
    theirs = replace(mine, job_id=str(uuid.uuid4()), account_id="somebody-else")
    await gateway.add_job(theirs)
    job_id = theirs.job_id
    for call in (
        collect(gateway.watch(job_id)),
        gateway.get(job_id),
        gateway.cancel(job_id),
        gateway.download(job_id, studio_pb2.ARTIFACT_KIND_VIDEO),
    ):
        await refused(call, grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    listed = await gateway.stub.ListJobs(studio_pb2.ListJobsRequest(), timeout=PATIENCE)
    assert listed.jobs[0].job_id == mine.job_id
    assert theirs.job_id not in {job.job_id for job in listed.jobs}


async def test_many_watchers_see_the_same(gateway: Gateway, services: Services) -> None:
    hold = services["Segment"].held()
    services["Render"].phases = [(number / 10, "") for number in range(10)]
    job = await gateway.start()
    watchers = [asyncio.create_task(collect(gateway.watch(job.job_id))) for _ in range(10)]
    await services["Segment"].begun()
    hold.set()
    stories = await asyncio.gather(*watchers)
    check_story(stories[0])
    assert all(story == stories[0] for story in stories)


async def test_a_watcher_that_leaves_disturbs_nobody(gateway: Gateway, services: Services) -> None:
    hold = services["Segment"].held()
    job = await gateway.start()
    leaving = [gateway.watch(job.job_id) for _ in range(5)]
    for stream in leaving:
        assert (await anext(aiter(stream))).event.seq == 1
    staying = asyncio.create_task(collect(gateway.watch(job.job_id)))
    await services["Segment"].begun()
    for stream in leaving:
        stream.cancel()
    await gateway.settled(lambda: gateway.studio._hub._tails[job.job_id].watchers != 1)
    hold.set()
    story = await staying
    check_story(story)
    assert story[-1].job.status == studio_pb2.JOB_STATUS_SUCCEEDED
    await gateway.settled(lambda: gateway.studio._hub._tails)


async def test_who_watches_a_job_that_another_replica_deletes_is_told(gateway: Gateway, services: Services) -> None:
    """Its last event may be gone before this replica reads it."""
    services["Segment"].held()
    job = await gateway.start()
    watching = asyncio.create_task(collect(gateway.watch(job.job_id)))
    await services["Segment"].begun()
    await gateway.settled(lambda: job.job_id not in gateway.studio._hub._tails)
    with gateway.store.database.writing() as connection:
        connection.execute(delete(job_events).where(job_events.c.job_id == job.job_id))
        connection.execute(delete(jobs).where(jobs.c.job_id == job.job_id))
    await refused(watching, grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
