"""A client, once for each transport, and a line to the gateway that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lensora.client import AsyncStudio
from tests.contract.harness import Gateway


class Line:
    """A TCP connection to the gateway by way of us."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0
        """How many were made."""
        self.cut_after: int | None = None
        """Cut the next connection that brings the caller so many bytes, once."""

    async def cut(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One caller's connection."""
        self.connections += 1
        there, onward = await asyncio.open_connection(self._host, self._port)
        mine = {writer, onward}
        self._writers |= mine
        pumps = [
            asyncio.create_task(self._pump(reader, onward)),
            asyncio.create_task(self._pump(there, writer, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers -= mine
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for one in mine:
                one.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, caller: asyncio.StreamWriter | None = None
    ) -> None:
        brought = 0
        with contextlib.suppress(OSError):
            while data := await source.read(16 * 1024):
                brought += len(data)
                if caller and self.cut_after is not None and brought >= self.cut_after:
                    self.cut_after = None
                    return
                sink.write(data)
                await sink.drain()


@pytest.fixture(params=["http", "grpc"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture(loop_scope="session")
async def line(gateway: Gateway, scheme: str) -> AsyncIterator[tuple[Line, str]]:
    """The line, and its address."""
    line = Line(gateway.http.removeprefix("http://") if scheme == "http" else gateway.address)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    async with server:
        yield line, f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await line.cut()


@pytest_asyncio.fixture(loop_scope="session")
async def studio(gateway: Gateway, scheme: str) -> AsyncIterator[AsyncStudio]:
    """A client of the gateway that does not try twice."""
    url = gateway.http if scheme == "http" else f"grpc://{gateway.address}"
    async with AsyncStudio(url=url, patience=0) as one:
        yield one
