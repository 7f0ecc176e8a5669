"""Waiting for a service: it may start late, come back, or never serve."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest

from lensora.core.errors import Unavailable
from lensora.runtime.channels import open_channel, wait_serving
from lensora.runtime.server import Listener


async def start(port: int, *, serving: bool) -> Listener:
    listener = Listener(f"127.0.0.1:{port}", ["toy"])
    await listener.set_serving(serving=serving)
    await listener.server.start()
    return listener


async def test_a_service_that_starts_late_is_waited_for(free_port: int) -> None:
    async with open_channel(f"127.0.0.1:{free_port}") as channel:
        waiting = asyncio.create_task(wait_serving(channel, 10))
        await asyncio.sleep(0.05)
        listener = await start(free_port, serving=False)
        await asyncio.sleep(0.05)
        assert not waiting.done(), "listening is not serving"
        await listener.set_serving(serving=True)
        await asyncio.wait_for(waiting, 5)
        await listener.server.stop(0)


async def test_a_service_that_never_serves_is_unavailable(free_port: int) -> None:
    listener = await start(free_port, serving=False)
    async with open_channel(f"127.0.0.1:{free_port}") as channel:
        begun = time.monotonic()
        with pytest.raises(Unavailable) as never:
            await wait_serving(channel, 0.2)
    assert never.value.reason == "NOT_SERVING" and time.monotonic() - begun < 2
    await listener.server.stop(0)


async def test_a_restarted_service_is_found_again(free_port: int) -> None:
    async with open_channel(f"127.0.0.1:{free_port}") as channel:
        for _ in range(2):
            listener = await start(free_port, serving=True)
            await wait_serving(channel, 5)
            await listener.server.stop(0)


async def test_a_watch_that_ends_without_an_answer_is_no_yes() -> None:
    async def watch(_: bytes, __: object) -> None:
        """End the stream at once."""

    server = grpc.aio.server()
    handler: Any = grpc.unary_stream_rpc_method_handler(watch)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Watch": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(Unavailable):
                await wait_serving(channel, 5)
    finally:
        await server.stop(0)
