"""One service process: ready only when it is, and gone only when all is answered."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from lensora.core.errors import Unavailable
from lensora.detect.v1 import detect_pb2, detect_pb2_grpc
from lensora.runtime import server
from lensora.runtime.channels import open_channel, wait_serving
from lensora.runtime.runners import ThreadRunner
from lensora.runtime.server import Listener, Service
from lensora.runtime.settings import ServiceSettings
from lensora.type.v1 import blob_pb2, engine_pb2, engine_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
NAME = "lensora.detect.v1.DetectService"


def service(servicer: Any, engine: str, port: int, *, drain_seconds: float = 10.0) -> tuple[Service, ServiceSettings]:
    settings = ServiceSettings(engine=engine, listen=f"127.0.0.1:{port}", drain_seconds=drain_seconds)
    runner = ThreadRunner("toy", settings, "toy_engines")
    add = detect_pb2_grpc.add_DetectServiceServicer_to_server
    return Service(NAME, add, servicer, runner), settings


@pytest.fixture
async def channel(free_port: int) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(f"127.0.0.1:{free_port}") as channel:
        yield channel


def detect(channel: grpc.aio.Channel, *action: Any) -> Any:
    stub: Any = detect_pb2_grpc.DetectServiceStub(channel)
    request = detect_pb2.DetectObjectsRequest(image=blob_pb2.Blob(inline=json.dumps(action).encode()))
    return stub.DetectObjects(request, timeout=10)


async def answer(call: Any) -> bytes:
    """The inline result of a call, once it has ended without an error."""
    responses = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response)
    assert await call.code() == grpc.StatusCode.OK
    return bytes(responses[-1].result.photo.inline)


async def test_ready_means_loaded_and_a_drain_answers_every_call(
    toy_servicer: Any, channel: grpc.aio.Channel, free_port: int, events: Any
) -> None:
    serving = asyncio.create_task(server._serve(*service(toy_servicer, "gated", free_port)))
    health: Any = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.aio.AioRpcError):
        await health.Check(health_pb2.HealthCheckRequest(), timeout=0.3, wait_for_ready=True)
    with pytest.raises(Unavailable) as early:
        await wait_serving(channel, 0.1)
    assert early.value.reason == "NOT_SERVING"
    events["gate"].set()
    await wait_serving(channel, 10)
    for name in ("", NAME, "lensora.type.v1.EngineService"):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)).status == SERVING
    engine: Any = engine_pb2_grpc.EngineServiceStub(channel)
    assert (await engine.GetEngine(engine_pb2.GetEngineRequest(), timeout=5)).engine.fingerprint == "toy/scripted@3"

    watch = health.Watch(health_pb2.HealthCheckRequest(service=NAME), timeout=10)
    assert (await watch.read()).status == SERVING
    running = detect(channel, "wait", "go")
    assert (await running.read()).progress.phase == "waiting"
    os.kill(os.getpid(), signal.SIGTERM)
    assert (await watch.read()).status == NOT_SERVING
    late = detect(channel, "wait", "go")
    assert (await late.read()).progress.phase == "waiting", "a caller who has not yet heard is not refused"
    assert not serving.done()
    events["go"].set()
    assert [await answer(call) for call in (running, late)] == [b"go", b"go"]
    await asyncio.wait_for(serving, 5)


async def test_the_last_bytes_of_a_drain_arrive(
    toy_servicer: Any, channel: grpc.aio.Channel, free_port: int, events: Any
) -> None:
    for _ in range(5):
        events.clear()
        serving = asyncio.create_task(server._serve(*service(toy_servicer, "scripted", free_port)))
        await wait_serving(channel, 10)
        call = detect(channel, "wait_then_bulk", "go", 262_144)
        await call.read()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        events["go"].set()
        assert len(await answer(call)) == 262_144
        await asyncio.wait_for(serving, 5)


async def test_what_does_not_end_in_time_is_stopped(
    toy_servicer: Any, channel: grpc.aio.Channel, free_port: int, events: Any
) -> None:
    serving = asyncio.create_task(server._serve(*service(toy_servicer, "scripted", free_port, drain_seconds=0.1)))
    await wait_serving(channel, 10)
    call = detect(channel, "loop", "endless")
    await call.read()
    with capture_logs() as logs:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(serving, 5)
    assert [line["drained"] for line in logs if line["event"] == "stopped"] == [False]
    assert await asyncio.to_thread(events["endless ended"].wait, 5)
    with pytest.raises(grpc.aio.AioRpcError):
        await answer(call)


async def test_reflection_lists_the_service(toy_servicer: Any, channel: grpc.aio.Channel, free_port: int) -> None:
    serving = asyncio.create_task(server._serve(*service(toy_servicer, "scripted", free_port)))
    await wait_serving(channel, 10)
    make: Any = reflection_pb2_grpc.ServerReflectionStub
    stub = make(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=5)
    names = {item.name for item in (await call.read()).list_services_response.service}
    assert names == {
        NAME,
        "lensora.type.v1.EngineService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    call.cancel()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 5)


async def test_a_taken_port_is_a_typed_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(Unavailable, match="cannot listen on") as taken:
            Listener(f"127.0.0.1:{other.getsockname()[1]}", [NAME])
    assert taken.value.reason == "ADDRESS_IN_USE"


async def test_two_servers_never_share_a_port(free_port: int) -> None:
    first = Listener(f"127.0.0.1:{free_port}", [NAME])
    assert first.address == f"127.0.0.1:{free_port}"
    with pytest.raises(Unavailable):
        Listener(f"127.0.0.1:{free_port}", [NAME])
    assert Listener("127.0.0.1:0", [NAME]).address not in ("127.0.0.1:0", first.address)


def real(tmp_path: Path, **environment: str) -> dict[str, str]:
    """The environment of a real detect process that needs nothing of this machine."""
    given = {"DETECT_LISTEN": "127.0.0.1:0", "DETECT_BLOB_PREFIX": f"file://{tmp_path}/"}
    return {**os.environ, **given, **environment}


def test_a_real_process_with_an_unknown_engine_says_which_there_are(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.detect"],
        env=real(tmp_path, DETECT_ENGINE="nonsense"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert done.returncode == 1 and done.stdout == ""
    assert said["reason"] == "ENGINE_NOT_FOUND" and said["service"] == "detect" and said["level"] == "error"
    assert "no engine 'nonsense'" in said["message"] and "embedded" in said["message"]


PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
child.wait()
"""
CHILD = """
import signal
from lensora.runtime.process import die_with_parent
die_with_parent()
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_supervised_process_ends_with_its_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        child = psutil.Process(int((lines - {"ready"}).pop()))
        parent.kill()
    until = time.monotonic() + 5
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.01)
