"""How fast, for how many, and with how much memory; every function measures one thing on a fresh system."""

from __future__ import annotations

import asyncio
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import psutil

from bench.gateway import world
from bench.gateway.world import World, running
from bench.memory import Watch
from lensora.runtime.channels import open_channel
from lensora.studio.v1 import studio_pb2, studio_pb2_grpc
from lensora.type.v1 import scene_pb2

Figures = dict[str, float]

WATCHERS, CONNECTIONS = 1000, 20
UPLOADS, UPLOAD_BYTES = 50, 20_000_000
_UNLIMITED = {"open_jobs": 10**6, "open_jobs_per_account": 10**6}


def quantile(values: Iterable[float], share: float) -> float:
    """The value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


async def overhead(rounds: int = 20) -> Figures:
    """Milliseconds of a job whose stages take no time, and of one that only moves the camera."""
    whole, moved, stages = [], [], []
    with tempfile.TemporaryDirectory() as home:
        async with running(Path(home)) as system:
            stub = system.stub()
            for number in range(rounds):
                session_id = await world.upload(stub, f"photo {number}".encode())
                whole.append((await _timed(stub, world.spec(session_id)))[0])
                dolly = world.spec(session_id, camera_preset=scene_pb2.CAMERA_PRESET_DOLLY)
                milliseconds, job_id = await _timed(stub, dolly)
                moved.append(milliseconds)
                stages.append(system.calls.read_text().count(job_id))
    return {
        "gateway_overhead_ms": statistics.median(whole),
        "rerender_overhead_ms": statistics.median(moved),
        "stages_run_on_camera_change": max(stages),
    }


async def _timed(stub: Any, spec: studio_pb2.JobSpec) -> tuple[float, str]:
    start = time.monotonic()
    job = await world.create(stub, spec)
    ended = await world.finished(stub, job.job_id)
    if ended.status != studio_pb2.JOB_STATUS_SUCCEEDED:
        raise RuntimeError(f"the job failed: {ended.error}")
    return 1000 * (time.monotonic() - start), str(job.job_id)


async def watchers() -> Figures:
    """A thousand who watch one job: from an event's time to when each has it, and the gateway's CPU for it."""
    delays: list[float] = []

    async def watch(stub: Any, job_id: str) -> int:
        count, there = 0, 0.0
        async for response in stub.WatchJob(studio_pb2.WatchJobRequest(job_id=job_id), wait_for_ready=True):
            count += 1
            there = there or time.time()
            happened = response.event.time.ToNanoseconds() / 1e9
            if happened > there:  # else it is a replay, of what happened before it watched
                delays.append(1000 * (time.time() - happened))
        return count

    with tempfile.TemporaryDirectory() as home:
        async with running(Path(home), seconds=4.0) as system:
            stub = system.stub()
            channels = [open_channel(system.addresses[0]) for _ in range(CONNECTIONS)]
            stubs: list[Any] = [studio_pb2_grpc.StudioServiceStub(channel) for channel in channels]
            session_id = await world.upload(stub, b"a photo")
            job = await world.create(stub, world.spec(session_id))
            watching = [asyncio.create_task(watch(stubs[n % CONNECTIONS], job.job_id)) for n in range(WATCHERS)]
            await asyncio.sleep(2.0)  # until all are connected
            with Watch({"gateway": system.gateways[0].pid}) as used:
                counts = await asyncio.gather(*watching)
            for channel in channels:
                await channel.close()
    return {
        "watchers": len(counts) if len(set(counts)) == 1 else 0,
        "event_p99_ms": quantile(delays, 0.99),
        "server_cpu_ms_per_event": 1000 * used.cpu_seconds["gateway"] / max(counts),
    }


async def accept(database_url: str, count: int = 1000, callers: int = 16, rate: float = 100.0) -> Figures:
    """Jobs accepted on Postgres, none of them begun: how many a second, and how long each takes at a steady rate.

    The most is what ``callers`` get who each ask again at once. Then calls are due ``rate`` times a second, whether or
    not earlier ones were answered, and each one's time begins when it was due.
    """
    times: list[float] = []
    with tempfile.TemporaryDirectory() as home:
        settings: dict[str, Any] = {"dispatch_seconds": 3600.0, "sweep_seconds": 3600.0, **_UNLIMITED}
        async with running(Path(home), database_url=database_url, **settings) as system:
            stub = system.stub()
            session_id = await world.upload(stub, b"a photo")
            numbers = iter(range(count))

            async def call() -> None:
                for number in numbers:
                    await world.create(stub, world.spec(session_id, seed=number))

            async def call_at(due: float, number: int) -> None:
                await asyncio.sleep(due - time.monotonic())
                await world.create(stub, world.spec(session_id, seed=number))
                times.append(1000 * (time.monotonic() - due))

            begun = time.monotonic()
            await asyncio.gather(*(call() for _ in range(callers)))
            seconds = time.monotonic() - begun
            begun = time.monotonic()
            await asyncio.gather(*(call_at(begun + number / rate, count + number) for number in range(count)))
    return {"accept_transform_per_second": count / seconds, "accept_p99_ms": quantile(times, 0.99)}


async def recovery(rounds: int = 10) -> Figures:
    """From the restart of a gateway that was killed to the job's next call to a service."""
    seconds = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            async with running(Path(home), seconds=3.0) as system:
                job_id = await _begun(system, f"photo {number}".encode())
                await system.gateways[0].stop(signal.SIGKILL)
                restarted = time.time()
                system.gateways[0].start()
                seconds.append(await _next_call(system, job_id, restarted) - restarted)
    return {"recovery_seconds_p95": quantile(seconds, 0.95)}


async def takeover(new_database: Callable[[], str], rounds: int = 5) -> Figures:
    """From the death for good of a replica to its job's next call to a service, by another."""
    seconds = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            async with running(Path(home), database_url=new_database(), gateways=2, seconds=3.0) as system:
                await system.gateways[1].stop(signal.SIGTERM)
                job_id = await _begun(system, f"photo {number}".encode())
                system.gateways[1].start()
                await system.ready(1)
                killed = time.time()
                await system.gateways[0].stop(signal.SIGKILL)
                seconds.append(await _next_call(system, job_id, killed) - killed)
    return {"takeover_seconds_p95": quantile(seconds, 0.95)}


async def uploads() -> Figures:
    """Memory that many large uploads at once take, over what the gateway held before."""
    with tempfile.TemporaryDirectory() as home:
        async with running(Path(home)) as system:
            stub = system.stub()
            await world.upload(stub, b"a first photo")
            process = psutil.Process(system.gateways[0].pid)
            rest, peak = process.memory_info().rss, 0

            async def measure() -> None:
                nonlocal peak
                while True:
                    peak = max(peak, process.memory_info().rss)
                    await asyncio.sleep(0.02)

            measuring = asyncio.create_task(measure())
            await asyncio.gather(*(_large_upload(stub, number) for number in range(UPLOADS)))
            measuring.cancel()
    return {"upload_peak_rss_mb": (peak - rest) / 1e6}


async def _large_upload(stub: Any, number: int) -> None:
    async def messages() -> Any:
        yield studio_pb2.CreateSessionRequest(options=studio_pb2.SessionOptions())
        for part in range(UPLOAD_BYTES // 500_000):
            yield studio_pb2.CreateSessionRequest(chunk=f"{number} {part} ".encode().ljust(500_000, b"."))

    await stub.CreateSession(messages(), timeout=600)


async def _begun(system: World, photo: bytes) -> str:
    """A job that has come as far as its mesh."""
    stub = system.stub()
    job = await world.create(stub, world.spec(await world.upload(stub, photo)))
    while not _calls(system, job.job_id, "Reconstruct"):  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0.02)
    return str(job.job_id)


async def _next_call(system: World, job_id: str, after: float) -> float:
    """When a service was next asked for the job."""
    while True:
        later = [when for when in _calls(system, job_id) if when > after]
        if later:
            return min(later)
        await asyncio.sleep(0.02)


def _calls(system: World, job_id: str, name: str = "") -> list[float]:
    lines = (line.split() for line in system.calls.read_text().splitlines())
    return [float(line[0]) for line in lines if line[3] == job_id and name in line[1]]


Measure = Callable[[], Coroutine[Any, Any, Figures]]
