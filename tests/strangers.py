"""A made-up internet: one TLS server on this machine, whatever numeric address a connection is meant for.

Names are answered by a table, so the tests see which addresses would have been touched, and nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from lensora.core.outside import Outside, Streams

PUBLIC = "93.184.215.14"

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request, given its whole head."""


@dataclass
class Internet:
    """A made-up internet: names, and one server behind all addresses."""

    port: int
    trust: ssl.SSLContext
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    """What each look-up of a name answers, in turn; the last answer stays."""
    touched: list[tuple[str, int, str]] = field(default_factory=list)
    """(address, port, host) of every connection."""
    heads: list[str] = field(default_factory=list)
    """Every request."""
    bodies: list[bytes] = field(default_factory=list)
    """What came with each."""

    async def resolve(self, host: str, _: int) -> list[str]:
        """The next answer."""
        answers = self.names.get(host, [[host]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect(self, address: str, port: int, host: str) -> Streams:
        """To the one server, with the name that was asked for."""
        self.touched.append((address, port, host))
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust, server_hostname=host)

    def outside(self) -> Outside:
        """The gateway's way to it, which knows no other internet."""
        return Outside(self.resolve, self.connect)


@contextlib.asynccontextmanager
async def internet(certificate: tuple[Path, Path], answer: Answer) -> AsyncIterator[Internet]:
    """Serve until the test is done."""
    key, chain = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    made = Internet(0, ssl.create_default_context(cafile=str(chain)), {"photos.example": [[PUBLIC]]})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            made.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            length = re.search(r"content-length: (\d+)", made.heads[-1], re.IGNORECASE)
            made.bodies.append(await reader.readexactly(int(length[1]) if length else 0))
            await answer(made.heads[-1], writer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


def plain(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """Answers everything with this."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode()

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head + body)
        await writer.drain()

    return answer
