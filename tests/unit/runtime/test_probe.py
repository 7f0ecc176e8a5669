"""The health check of a container, against a real listener."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lensora.runtime import probe
from lensora.runtime.server import LIVENESS, Listener


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    one = Listener("127.0.0.1:0", ["lensora.type.v1.EngineService"], health_listen="127.0.0.1:0")
    await one.start()
    yield one
    await one.stop()


async def test_it_tells_whether_a_component_serves(listener: Listener) -> None:
    await listener.set_serving(serving=True)
    assert await asyncio.to_thread(probe.probe, listener.health_address) == ""
    await listener.set_fit(False)
    assert "NOT_SERVING" in await asyncio.to_thread(probe.probe, listener.health_address)


async def test_who_is_not_there_is_not_well(listener: Listener) -> None:
    await listener.stop()
    assert "connect" in await asyncio.to_thread(probe.probe, listener.health_address)
    assert await asyncio.to_thread(probe.probe, f"http://{listener.health_address}/readyz")


async def test_over_http_only_200_is_well() -> None:
    answers = iter(["200 OK", "503 Service Unavailable"])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"GET /readyz HTTP/1.1\r\n"
        writer.write(f"HTTP/1.1 {next(answers)}\r\nContent-Length: 5\r\n\r\nblobs".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.to_thread(probe.probe, f"http://127.0.0.1:{port}/readyz") == ""
        assert "503: blobs" in await asyncio.to_thread(probe.probe, f"http://127.0.0.1:{port}/readyz")


async def test_the_exit_status_says_it(
    listener: Listener, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["probe", listener.health_address])
    await listener.set_serving(serving=True)
    assert await asyncio.to_thread(probe.main) == 0
    await listener.set_serving(serving=False)
    assert await asyncio.to_thread(probe.main) == 1
    assert "NOT_SERVING" in capsys.readouterr().err


async def test_who_drains_or_is_unfit_lives_on(listener: Listener) -> None:
    await listener.set_fit(False)
    async with grpc.aio.insecure_channel(listener.health_address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=LIVENESS))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
