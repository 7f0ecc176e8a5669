"""A gateway that stops, or is killed, in the middle."""

from __future__ import annotations

import asyncio
import os
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.model import Job, JobStatus, Step, StepState
from gateway.progress import Hub, Journal
from gateway.store import Store
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, running_gateway, spec_of
from tests.contract.scripted import Services

FAILED = studio_pb2.JOB_STATUS_FAILED


async def test_a_gateway_that_stops_ends_its_jobs(tmp_path: Path, services: Services) -> None:
    services["Reconstruct"].held()
    async with running_gateway(tmp_path, services, running_jobs=1) as gateway:
        session = await gateway.upload()
        running = await gateway.create(spec_of(session.session_id))
        queued = await gateway.create(spec_of(session.session_id, object_index=1))
        await services["Reconstruct"].begun()
    assert (await services["Reconstruct"].calls[0].gone()).cancelled
    services.reset()
    async with running_gateway(tmp_path, services) as gateway:
        for job, step in ((running, studio_pb2.STEP_GENERATING_3D), (queued, studio_pb2.STEP_CROPPING)):
            ended = await gateway.finished(job.job_id)
            assert (ended.status, ended.error.reason) == (FAILED, "GATEWAY_STOPPED")
            assert ended.error.step <= step
            assert "again" in ended.error.message
        assert gateway.staged() == []
        assert (await gateway.finished((await gateway.create(running.spec)).job_id)).status != FAILED


async def unfinished(home: Path, job: studio_pb2.Job, *, begun: bool) -> tuple[str, int]:
    """Store a job as a process that was killed leaves it; its id, and the number of its last event."""
    store = Store.sqlite(home / "studio.db")
    template = await store.job("local", job.job_id)
    assert template is not None
    left = Job(str(uuid.uuid4()), "local", template.options, created_at=datetime.now(UTC))
    await store.add_job(left)
    if begun:
        journal = Journal(store, Hub(), left, 0)
        await journal.begin()
        await journal.running(Step.CROPPING)
        await journal.done(Step.CROPPING, reused=False, fingerprint="")
        await journal.running(Step.REMOVING_BG, 0.5)
        await journal.running(Step.GENERATING_BG)
    seq = await store.last_seq(left.job_id)
    await store.close()
    return left.job_id, seq


@pytest.mark.parametrize("begun", [False, True])
async def test_what_a_killed_gateway_left_is_failed_at_the_next_start(
    tmp_path: Path, services: Services, *, begun: bool
) -> None:
    async with running_gateway(tmp_path, services) as gateway:
        job = await gateway.make()
        job_id, seq = await unfinished(tmp_path, job, begun=begun)
        gateway.blobs.stage(gateway.blobs.new_target(), b"half an upload of a stranger")
    async with running_gateway(tmp_path, services) as gateway:
        story = await gateway.story(job_id)
        assert story[-1].event.seq == seq + 1
        ended = story[-1].job
        assert (ended.status, ended.error.reason) == (FAILED, "GATEWAY_STOPPED")
        assert ended.error.step == (studio_pb2.STEP_REMOVING_BG if begun else studio_pb2.STEP_CROPPING)
        assert gateway.staged() == []
        assert (await gateway.get(job.job_id)) == job, "a job that had ended is left alone"
    async with running_gateway(tmp_path, services) as gateway:
        assert await gateway.story(job_id) == story, "once"


async def test_a_late_writer_cannot_change_a_job_that_has_ended(gateway: Gateway) -> None:
    done = await gateway.store.job("local", (await gateway.make()).job_id)
    assert done is not None
    seq = await gateway.store.last_seq(done.job_id)
    running = replace(done, status=JobStatus.RUNNING, steps=Job("", "", done.options, done.created_at).steps)
    journal = Journal(gateway.store, Hub(), running, seq)
    await journal.running(Step.CROPPING)
    await journal.end(JobStatus.CANCELLED)
    assert await gateway.store.job("local", done.job_id) == done
    assert await gateway.store.last_seq(done.job_id) == seq
    assert done.record(Step.CROPPING).state is StepState.DONE


async def test_a_home_may_have_any_name(tmp_path: Path, services: Services) -> None:
    home = tmp_path / "é a?b#c%20&d=e"
    await asyncio.to_thread(home.mkdir)
    for name in ("DetectObjects", "Render"):
        services[name].to_target = True
    async with running_gateway(home, services) as gateway:
        await gateway.make()
    assert await asyncio.to_thread(os.listdir, tmp_path) == [home.name]
