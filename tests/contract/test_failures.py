"""What goes wrong in a stage, and what callers see of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from lensora.core.blobs import file_url
from lensora.core.errors import DeadlineExceeded, FailedPrecondition, Internal, LensoraError, Unavailable
from lensora.studio.v1 import studio_pb2
from lensora.type.v1 import mesh_pb2
from tests.contract.harness import Gateway, running_gateway, spec_of
from tests.contract.scripted import JOB_METHODS, PATIENCE, Call, Services, blobs_of

FAILED = studio_pb2.JOB_STATUS_FAILED
STEPS = {
    "Segment": studio_pb2.STEP_REMOVING_BG,
    "BuildScene": studio_pb2.STEP_GENERATING_BG,
    "Compose": studio_pb2.STEP_COMPOSITING,
    "Reconstruct": studio_pb2.STEP_GENERATING_3D,
    "Render": studio_pb2.STEP_RENDERING_VIDEO,
}
"""The step each stage fails in, once it has begun in earnest."""

each_stage = pytest.mark.parametrize("name", JOB_METHODS)


PHASES = ((0.5, "cropping"), (0.5, "removing-bg"))


@pytest.fixture(autouse=True)
def phases(services: Services) -> None:
    services["Segment"].phases = PHASES


async def failed(gateway: Gateway, job_id: str, name: str, reason: str) -> studio_pb2.JobError:
    """The job's error, which must be of this stage and reason."""
    job = await gateway.finished(job_id)
    assert (job.status, job.error.step, job.error.reason) == (FAILED, STEPS[name], reason), job.error
    await gateway.settled(gateway.staged)
    return job.error


@each_stage
async def test_a_stages_own_error_fails_the_job_in_its_step(gateway: Gateway, services: Services, name: str) -> None:
    services[name].error = FailedPrecondition("nothing in the box stands out", reason="NO_SUBJECT")
    session = await gateway.upload()
    job = await gateway.create(spec_of(session.session_id))
    error = await failed(gateway, job.job_id, name, "NO_SUBJECT")
    assert error.message == "nothing in the box stands out"
    services[name].error = None
    again = await gateway.create(spec_of(session.session_id))
    assert (await gateway.finished(again.job_id)).status == studio_pb2.JOB_STATUS_SUCCEEDED


async def test_cropping_can_fail_too(gateway: Gateway, services: Services) -> None:
    services["Segment"].phases = [(0.5, "cropping")]
    services["Segment"].error = FailedPrecondition("no", reason="NO_SUBJECT")
    job = await gateway.finished((await gateway.start()).job_id)
    assert job.error.step == studio_pb2.STEP_CROPPING


@pytest.mark.parametrize(
    ("name", "sibling"),
    [
        ("Segment", "BuildScene"),
        ("BuildScene", "Reconstruct"),
        ("Compose", "Reconstruct"),
        ("Reconstruct", "Compose"),
        ("Render", "Compose"),
    ],
)
async def test_siblings_are_cancelled(gateway: Gateway, services: Services, name: str, sibling: str) -> None:
    hold = services[name].held()
    services[sibling].held()
    services[name].error = FailedPrecondition("no", reason="NO_SUBJECT")
    job = await gateway.start()
    await asyncio.gather(services[name].begun(), services[sibling].begun())
    hold.set()
    await failed(gateway, job.job_id, name, "NO_SUBJECT")
    assert (await services[sibling].calls[0].gone()).cancelled
    ended = await gateway.get(job.job_id)
    assert ended.steps[STEPS[sibling] - 1].state == studio_pb2.STEP_STATE_CANCELLED


@each_stage
async def test_a_service_that_dies_in_the_middle(fresh: Gateway, name: str) -> None:
    fresh.services["Segment"].phases = PHASES
    fresh.services[name].held()
    session = await fresh.upload()
    job = await fresh.create(spec_of(session.session_id))
    await fresh.services[name].begun()
    await fresh.services[name].service.stop()
    error = await failed(fresh, job.job_id, name, "STAGE_UNAVAILABLE")
    assert fresh.services[name].service.name in error.message


_KILLED = """
import asyncio, sys
from tests.contract.scripted import Services
async def main():
    services = Services(sys.argv[1])
    services["Render"].held()
    await services.render.start()
    print(services.render.address, flush=True)
    await services["Render"].begun()
    print("begun", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_service_process_that_is_killed(tmp_path: Path, services: Services) -> None:
    prefix = services.render.access.prefix
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _KILLED, prefix, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            address = (await process.stdout.readline()).decode().strip()
        async with running_gateway(tmp_path, services, render_target=address, connect_seconds=0.5) as gateway:
            job = await gateway.start()
            async with asyncio.timeout(PATIENCE):
                while await process.stdout.readline() != b"begun\n":
                    pass
            process.kill()
            await failed(gateway, job.job_id, "Render", "STAGE_UNAVAILABLE")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_service_that_never_was_there(tmp_path: Path, services: Services) -> None:
    async with running_gateway(tmp_path, services, mesh3d_target="127.0.0.1:1", connect_seconds=0.2) as gateway:
        await failed(gateway, (await gateway.start()).job_id, "Reconstruct", "STAGE_UNAVAILABLE")


async def test_a_service_that_starts_again_is_waited_for(fresh: Gateway) -> None:
    await fresh.make()
    await fresh.services.mesh3d.stop()
    job = await fresh.start(seed=1)
    await fresh.services["BuildScene"].begun(2)
    await fresh.services.mesh3d.start()
    assert (await fresh.finished(job.job_id)).status == studio_pb2.JOB_STATUS_SUCCEEDED


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("the engine is still loading", reason="ENGINE_LOADING"),
        DeadlineExceeded("mesh3d reported nothing for 30 s", reason="STAGE_STALLED"),
        Internal("an unexpected error; see the service's log"),
    ],
)
async def test_errors_keep_their_reason(gateway: Gateway, services: Services, error: LensoraError) -> None:
    services["Reconstruct"].error = error
    told = await failed(gateway, (await gateway.start()).job_id, "Reconstruct", error.reason)
    assert told.message == error.message


async def test_a_stage_that_runs_out_of_its_time(tmp_path: Path, services: Services) -> None:
    services["Compose"].held()
    async with running_gateway(tmp_path, services, stage_seconds=2.0) as gateway:
        await failed(gateway, (await gateway.start()).job_id, "Compose", "STAGE_TIMED_OUT")
    assert (await services["Compose"].calls[0].gone()).cancelled


async def test_a_job_that_runs_out_of_its_time(tmp_path: Path, services: Services) -> None:
    for name in ("Segment", "BuildScene"):
        services[name].held()
    async with running_gateway(tmp_path, services, job_seconds=2.0) as gateway:
        error = await failed(gateway, (await gateway.start()).job_id, "Segment", "JOB_TIMED_OUT")
        assert "2 s" in error.message
        for name in ("Segment", "BuildScene"):
            assert (await services[name].calls[0].gone()).cancelled


async def test_the_time_in_the_queue_does_not_count(tmp_path: Path, services: Services) -> None:
    hold = services["Segment"].held()
    async with running_gateway(tmp_path, services, job_seconds=2.0, running_jobs=1) as gateway:
        first = await gateway.start()
        second = await gateway.start(object_index=1)
        assert (await gateway.finished(first.job_id)).error.reason == "JOB_TIMED_OUT"
        hold.set()
        assert (await gateway.finished(second.job_id)).status == studio_pb2.JOB_STATUS_SUCCEEDED


def edit(change: Callable[[Any], None]) -> Callable[[Any], None]:
    """Change every blob of a result."""

    def tweak(result: Any) -> None:
        for blob in blobs_of(result):
            change(blob)

    return tweak


def wrong_digest(blob: Any) -> None:
    blob.sha256 = "0" * 64


def wrong_size(blob: Any) -> None:
    blob.size += 1


def foreign_url(blob: Any) -> None:
    blob.url = file_url(Path(__file__))


def no_bytes(blob: Any) -> None:
    blob.ClearField("source")


def no_digest(blob: Any) -> None:
    blob.sha256 = ""


@pytest.mark.parametrize("to_target", [False, True], ids=["inline", "written"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (wrong_digest, "BLOB_DIGEST"),
        (wrong_size, "BLOB_DIGEST"),
        (no_digest, "BLOB_DIGEST"),
        (foreign_url, "STAGE_PROTOCOL"),
        (no_bytes, "STAGE_PROTOCOL"),
    ],
)
async def test_bytes_that_are_not_what_the_stage_says(
    gateway: Gateway, services: Services, *, to_target: bool, change: Any, reason: str
) -> None:
    services["BuildScene"].to_target = to_target
    services["BuildScene"].tweak = edit(change)
    await failed(gateway, (await gateway.start()).job_id, "BuildScene", reason)


async def test_a_written_result_that_is_not_there(gateway: Gateway, services: Services) -> None:
    async def script(call: Call) -> AsyncIterator[Any]:
        response = services["Render"].result(call.request)
        response.result.video.url = call.request.video_target.url
        yield response

    services["Render"].script = script
    await failed(gateway, (await gateway.start()).job_id, "Render", "BLOB_DIGEST")


@each_stage
async def test_a_stage_that_ends_without_a_result(gateway: Gateway, services: Services, name: str) -> None:
    async def script(_: Call) -> AsyncIterator[Any]:
        yield services[name].progress(0.5, "removing-bg")

    services[name].script = script
    error = await failed(gateway, (await gateway.start()).job_id, name, "STAGE_PROTOCOL")
    assert "without a result" in error.message


@each_stage
async def test_a_stage_whose_result_is_empty(gateway: Gateway, services: Services, name: str) -> None:
    async def script(_: Call) -> AsyncIterator[Any]:
        yield services[name].progress(0.5, "removing-bg")
        yield services[name].response_type()

    services[name].script = script
    await failed(gateway, (await gateway.start()).job_id, name, "STAGE_PROTOCOL")


def no_verdict(result: Any) -> None:
    result.report.verdict = mesh_pb2.VERDICT_UNSPECIFIED


def no_report(result: Any) -> None:
    result.ClearField("report")


def no_engine(result: Any) -> None:
    result.ClearField("engine")


def no_ratio(result: Any) -> None:
    result.report.thin_axis_ratio = float("nan")


def no_arc(result: Any) -> None:
    result.camera.arc_degrees = float("inf")


def no_crop(result: Any) -> None:
    result.ClearField("crop_bbox")


@pytest.mark.parametrize(
    ("name", "tweak"),
    [
        ("Reconstruct", no_verdict),
        ("Reconstruct", no_report),
        ("Reconstruct", no_ratio),
        ("Render", no_arc),
        ("Segment", no_crop),
        ("Compose", no_engine),
    ],
)
async def test_nonsense_in_a_result_fails_the_job_and_poisons_nothing(
    gateway: Gateway, services: Services, name: str, tweak: Any
) -> None:
    services[name].tweak = tweak
    await failed(gateway, (await gateway.start()).job_id, name, "STAGE_PROTOCOL")
    listed = await gateway.stub.ListJobs(studio_pb2.ListJobsRequest(), timeout=PATIENCE)
    assert listed.jobs[0].status == FAILED
    services[name].tweak = None
    await gateway.make()


def slab(result: Any) -> None:
    result.report.verdict, result.report.thin_axis_ratio = mesh_pb2.VERDICT_SLAB, 0.157


async def test_on_slab_fail_makes_no_film(gateway: Gateway, services: Services) -> None:
    services["Reconstruct"].tweak = slab
    job = await gateway.start(on_slab=studio_pb2.ON_SLAB_FAIL)
    error = await failed(gateway, job.job_id, "Reconstruct", "SLAB")
    assert "clamp" in error.message, "a person can act on it"
    assert not services["Render"].calls
    ended = await gateway.get(job.job_id)
    assert ended.mesh.verdict == mesh_pb2.VERDICT_SLAB


@pytest.mark.parametrize("on_slab", [studio_pb2.ON_SLAB_CLAMP, studio_pb2.ON_SLAB_UNSPECIFIED])
async def test_on_slab_clamp_delivers(gateway: Gateway, services: Services, on_slab: Any) -> None:
    services["Reconstruct"].tweak = slab
    job = await gateway.make(on_slab=on_slab)
    assert job.mesh.verdict == mesh_pb2.VERDICT_SLAB


async def test_an_unknown_status_is_internal(gateway: Gateway, services: Services) -> None:
    async def script(_: Call) -> AsyncIterator[Any]:
        if services:
            raise RuntimeError("a secret path")
        yield

    services["Compose"].script = script
    error = await failed(gateway, (await gateway.start()).job_id, "Compose", "INTERNAL")
    assert "secret" not in error.message
