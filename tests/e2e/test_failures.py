"""What happens when a person, or the machine, ends things in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import struct
import subprocess
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from cli.make import studio_at
from lensora.client import AsyncJob, AsyncStudio, Output, Result, Step
from lensora.core.errors import InvalidArgument, LensoraError
from lensora.runtime.errors import from_rpc
from lensora.studio.v1 import studio_pb2, studio_pb2_grpc
from tests.e2e.conftest import LENSORA, PHOTOS, System, start, still_running, worker_of
from tests.weight import weighing

LONG, MEDIUM, SHORT = Output(1280, 720, 12), Output(640, 360, 3), Output(256, 256, 1)


@pytest.fixture
async def studio(system: System) -> AsyncIterator[AsyncStudio]:
    async with studio_at(system.address, "") as client:
        yield client


async def new_job(studio: AsyncStudio, output: Output, seed: int) -> AsyncJob:
    """A job that shares no result with another seed's."""
    session = await studio.init(PHOTOS["air-balloon"])
    return await session.transform(background="transparent", camera="turntable", seed=seed, output=output)


async def until(job: AsyncJob, step: Step) -> None:
    """Follow the job until the step's engine is at work."""
    async with asyncio.timeout(60):
        async for event in job.watch():
            if (event.step, event.state) == (step, "running") and event.fraction > 0:
                return
    raise AssertionError("the job ended before the step ran")


async def ended(job: AsyncJob) -> Result:
    async with asyncio.timeout(120):
        async for _ in job.watch():
            pass
    return await job.status()


STEPS: dict[str, Step] = {"mesh3d": "generating-3d", "render": "rendering-video"}


@pytest.mark.parametrize("service", STEPS)
async def test_a_killed_service_comes_back_and_its_step_is_tried_again(
    system: System, studio: AsyncStudio, service: str
) -> None:
    job = await new_job(studio, MEDIUM, seed=100 + list(STEPS).index(service))
    await until(job, STEPS[service])
    victim = system.service(service)
    workers = victim.children()
    victim.kill()
    done = await ended(job)
    assert done.status == "succeeded", done.error
    assert not any(step.reused for step in done.steps if step.name == STEPS[service])
    assert await asyncio.to_thread(system.replaced, victim, service)
    assert still_running(workers, 2) == [], "the worker goes with its service"


@pytest.mark.parametrize("service", STEPS)
async def test_a_cancel_stops_the_work_within_a_second(system: System, studio: AsyncStudio, service: str) -> None:
    job = await new_job(studio, LONG, seed=200 + list(STEPS).index(service))
    await until(job, STEPS[service])
    worker = worker_of(system.service(service))
    asked = time.monotonic()
    assert (await job.cancel()).status == "cancelled"
    assert still_running([worker], 1.0 - (time.monotonic() - asked)) == []
    assert (await ended(job)).status == "cancelled"
    after = await ended(await new_job(studio, SHORT, seed=300 + list(STEPS).index(service)))
    assert after.status == "succeeded"
    assert not any(step.reused for step in after.steps if step.name == STEPS[service])


NAMES = {
    "detect": "lensora.detect.v1.DetectService",
    "segment": "lensora.segment.v1.SegmentService",
    "background": "lensora.background.v1.BackgroundService",
    "mesh3d": "lensora.mesh3d.v1.Mesh3dService",
    "render": "lensora.render.v1.RenderService",
    "gateway": "lensora.studio.v1.StudioService",
}


@pytest.mark.parametrize(("process", "service"), NAMES.items())
async def test_all_six_answer_for_their_health_and_what_they_serve(system: System, process: str, service: str) -> None:
    async with grpc.aio.insecure_channel(system.addresses[process]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", service):
            request = health_pb2.HealthCheckRequest(service=name)
            answer = await stub.Check(request, timeout=20, wait_for_ready=True)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflected = await asyncio.to_thread(_reflected, system.addresses[process])
    assert {service, "grpc.health.v1.Health"} <= reflected


def _reflected(address: str) -> set[str]:
    with grpc.insecure_channel(address) as channel:
        return set(ProtoReflectionDescriptorDatabase(channel).get_services())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["starting", "running"])
def test_ctrl_c_leaves_nothing_running(tmp_path: Path, number: signal.Signals, moment: str) -> None:
    command = [str(LENSORA), "make", str(PHOTOS["air-balloon"]), "--duration", "12", "--out", str(tmp_path / "out")]
    home = tmp_path / "home"
    home.mkdir()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "TMPDIR": str(home)}
    )
    family: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(family) < 10 and time.monotonic() < deadline:  # six, and two with a worker and a resource tracker
        time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 10
    while moment == "running" and statuses(home) != ["running"] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert statuses(home) == (["running"] if moment == "running" else [])
    process.send_signal(number)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert still_running(family, 1) == []
    assert not (tmp_path / "out").exists(), "no half of a result"
    assert list(home.glob("lensora-*")) == []


def statuses(home: Path) -> list[str]:
    """Of the jobs in the database of a system that was started below ``home``."""
    for file in home.glob("lensora-*/studio.db"):
        # its tables may not be there yet
        gone = contextlib.suppress(sqlite3.OperationalError)
        with gone, contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return [status for (status,) in database.execute("SELECT status FROM jobs")]
    return []


def test_a_killed_supervisor_takes_all_six_along(tmp_path: Path) -> None:
    system = start(tmp_path)
    family = psutil.Process(system.process.pid).children(recursive=True)
    system.process.kill()
    system.process.communicate(timeout=5)
    assert still_running(family, 30) == []


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a picture and brings next to nothing of it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(10_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def bad_uploads() -> dict[str, tuple[bytes, str]]:
    photo = PHOTOS["air-balloon"].read_bytes()
    return {
        "text": (b"just some words, and no picture at all\n" * 100, "IMAGE_WRONG_TYPE"),
        "truncated": (photo[: len(photo) // 2], "IMAGE_UNDECODABLE"),
        "empty": (b"", "IMAGE_EMPTY"),
        "21 MB": (photo + bytes(21_000_000 - len(photo)), "IMAGE_TOO_LARGE"),
        "bomb": (png_header(50_000, 50_000), "IMAGE_TOO_MANY_PIXELS"),
    }


async def upload(stub: Any, data: bytes) -> None:
    """Without the SDK, which would not send all of these."""
    chunks = [studio_pb2.CreateSessionRequest(chunk=data[at : at + 500_000]) for at in range(0, len(data), 500_000)]
    options = studio_pb2.CreateSessionRequest(options=studio_pb2.SessionOptions())
    await stub.CreateSession([options, *chunks], timeout=60)


async def test_bad_uploads_are_refused_and_memory_stays_flat(system: System) -> None:
    async with grpc.aio.insecure_channel(system.address) as channel:
        stub = studio_pb2_grpc.StudioServiceStub(channel)
        await upload(stub, PHOTOS["air-balloon"].read_bytes())  # all lazy parts are loaded
        with weighing(system.service("detect").pid) as weight:
            for name, (data, reason) in bad_uploads().items():
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await upload(stub, data)
                error = from_rpc(caught.value)
                assert isinstance(error, InvalidArgument) and error.reason == reason, name
                assert [violation.field for violation in error.violations] == ["image"], name
                assert len(error.violations[0].description) > 15, name
    assert weight.grown < 60, "the peak, megabytes"
    assert list((system.home / "blobs/.staging").iterdir()) == [], "no upload is left behind"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"object_index": 99}, "object_index"),
        ({"object_index": -1}, "object_index"),
        ({"output": Output(width=481, height=270)}, "output.width"),
        ({"output": Output(duration_s=float("nan"))}, "output.duration_s"),
        ({"camera": "unspecified"}, "camera_preset"),
        ({"background": "x" * 1001}, "background.prompt"),
    ],
)
async def test_bad_orders_name_the_field_and_the_rule(studio: AsyncStudio, change: dict[str, Any], field: str) -> None:
    session = await studio.init(PHOTOS["astronaut"])
    with pytest.raises(LensoraError) as caught:
        await session.transform(**{"background": "a table", "camera": "turntable", **change})
    assert isinstance(caught.value, InvalidArgument)
    assert [violation.field for violation in caught.value.violations] == [field]
