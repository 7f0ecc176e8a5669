"""Direct channels to services, with and without TLS: the policy of the mesh, and its check of who answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.authority import Authority
from lensora.core.errors import InvalidArgument, LensoraError, Unavailable
from lensora.runtime.callees import open_service
from lensora.runtime.channels import open_channel
from lensora.runtime.server import Listener
from lensora.type.v1 import engine_pb2, engine_pb2_grpc

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
NAME = "lensora.type.v1.EngineService"


class Engine(engine_pb2_grpc.EngineServiceServicer):
    """Fails as it is told."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails: Callable[[int], LensoraError | None] = lambda _: None
        self.gate: asyncio.Event | None = None

    async def GetEngine(self, request: Any, context: Any) -> engine_pb2.GetEngineResponse:  # noqa: N802, ARG002
        """See the proto."""
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        if (error := self.fails(self.calls)) is not None:
            raise error
        return engine_pb2.GetEngineResponse()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with those of mesh3d and of gateway."""
    authority = Authority.open(tmp_path)
    for name in ("mesh3d", "gateway"):
        authority.issue(tmp_path / name, name, days=1)
    return tmp_path


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """What is served."""
    yield Engine()


async def serve(engine: Engine, **arguments: Any) -> Listener:
    """A listener that serves it."""
    listener = Listener("127.0.0.1:0", [NAME], **arguments)
    engine_pb2_grpc.add_EngineServiceServicer_to_server(engine, listener.server)
    await listener.start()
    await listener.set_serving(serving=True)
    return listener


async def ask(channel: grpc.aio.Channel) -> grpc.StatusCode:
    """The status of one call."""
    stub: Any = engine_pb2_grpc.EngineServiceStub(channel)
    call = stub.GetEngine(engine_pb2.GetEngineRequest(), timeout=10)
    code: grpc.StatusCode = await call.code()
    return code


async def test_a_direct_channel_tries_unavailable_again_and_nothing_else(engine: Engine) -> None:
    listener = await serve(engine)
    async with open_service("mesh3d", listener.address) as channel:
        engine.fails = lambda number: Unavailable("scripted") if number < 3 else None
        assert (await ask(channel), engine.calls) == (grpc.StatusCode.OK, 3)
        engine.fails, engine.calls = (lambda _: LensoraError("scripted")), 0
        assert (await ask(channel), engine.calls) == (grpc.StatusCode.INTERNAL, 1)
    await listener.stop()


async def test_over_tls_both_sides_say_who_they_are(engine: Engine, certificates: Path) -> None:
    listener = await serve(engine, certificates=certificates / "mesh3d", health_listen="127.0.0.1:0")
    async with open_service("mesh3d", listener.address, certificates / "gateway") as channel:
        assert await ask(channel) is grpc.StatusCode.OK
    refused = [
        open_service("render", listener.address, certificates / "gateway"),  # which it is not
        open_service("mesh3d", listener.address),
    ]
    for channel in refused:
        async with channel:
            assert await ask(channel) is grpc.StatusCode.UNAVAILABLE
    assert engine.calls == 1
    await listener.stop()


async def test_probes_have_a_port_with_health_and_nothing_else(engine: Engine, certificates: Path) -> None:
    listener = await serve(engine, certificates=certificates / "mesh3d", health_listen="127.0.0.1:0")
    async with open_channel(listener.health_address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=NAME)
        assert (await health.Check(request, timeout=10)).status == SERVING
        assert await ask(channel) is grpc.StatusCode.UNIMPLEMENTED
        watch = health.Watch(request, timeout=10)
        assert (await watch.read()).status == SERVING
        await listener.set_fit(False)
        assert (await watch.read()).status == NOT_SERVING
        assert await listener.drain(5, 5)
    await listener.stop()


async def test_certificates_that_are_not_there_are_a_typed_error(tmp_path: Path) -> None:
    for use in (
        lambda: Listener("127.0.0.1:0", [], certificates=tmp_path),
        lambda: open_service("mesh3d", "x", tmp_path),
    ):
        with pytest.raises(InvalidArgument) as refused:
            use()
        assert refused.value.reason == "CERTIFICATES_UNREADABLE"


async def test_a_server_that_is_never_idle_drains_too(engine: Engine) -> None:
    listener = await serve(engine)
    engine.gate = asyncio.Event()
    async with open_channel(listener.address) as channel:
        held = asyncio.create_task(ask(channel))
        while not engine.calls:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        draining = asyncio.create_task(listener.drain(20, notice_seconds=0))
        async with open_channel(listener.address) as late:
            while await _is_served(late):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        assert not draining.done(), "what runs is waited for"
        engine.gate.set()
        assert await held is grpc.StatusCode.OK
        assert await draining
    await listener.stop()


async def _is_served(channel: grpc.aio.Channel) -> bool:
    """Whether a new connection is still made."""
    health: Any = health_pb2_grpc.HealthStub(channel)
    code = await health.Check(health_pb2.HealthCheckRequest(), timeout=1).code()
    return bool(code is grpc.StatusCode.OK)
