"""What happens when a person, or the machine, ends things in the middle."""

from __future__ import annotations

import asyncio
import signal
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
from tests.e2e.conftest import LENSORA, PHOTOS, System, start, still_running, worker_of

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
    assert (await ended(await new_job(studio, SHORT, seed=8))).status == "succeeded"


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
def test_ctrl_c_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    command = [str(LENSORA), "make", str(PHOTOS["air-balloon"]), "--duration", "12", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    family: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(family) < 10 and time.monotonic() < deadline:  # six, and two with a worker and a resource tracker
        time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 10
    process.send_signal(number)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert still_running(family, 1) == []
    assert not (tmp_path / "out").exists(), "no half of a result"


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


async def test_bad_uploads_are_refused_and_memory_stays_flat(system: System, studio: AsyncStudio) -> None:
    await studio.init(PHOTOS["air-balloon"])  # all lazy parts are loaded
    process = system.service("detect")
    before = process.memory_info().rss
    for name, (upload, reason) in bad_uploads().items():
        with pytest.raises(InvalidArgument) as caught:
            await studio.init(upload)
        assert caught.value.reason == reason, name
        assert [violation.field for violation in caught.value.violations] == ["image"], name
        assert len(caught.value.violations[0].description) > 15, name
    assert process.memory_info().rss - before < 60e6
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
