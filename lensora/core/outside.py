"""Connections to hosts that strangers name: the only place of the whole system that opens such a one.

A host is judged by all its addresses before any of them is touched, and the connection is made to the very address
that was judged, so a name that changes its mind between the two gains nothing (docs/adr/0007).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import h11

from lensora.core.addresses import is_public
from lensora.core.errors import InvalidArgument
from lensora.core.links import Link

_MAX_NAMES_AT_ONCE = 8
_MAX_ADDRESSES = 4
_MAX_HEAD_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The numeric addresses of (host, port), best first; raises ``OSError``."""

Connect = Callable[[str, int, str], Awaitable[Streams]]
"""A TLS connection to (numeric address, port) that proves to be (host); raises ``OSError``."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask a host."""

    link: Link
    field: str
    """What to call the link in an error."""
    headers: Mapping[str, str]
    """Those beyond ``Host``, ``User-Agent``, ``Accept-Encoding``, ``Content-Length`` and ``Connection``."""
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host answers, read no further than is asked for."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; the last where one comes twice."""
    body: AsyncIterator[bytes]
    """In pieces, of any length in all."""


class Outside:
    """The open internet; ``resolve`` and ``connect`` are the system's unless a test brings its own."""

    def __init__(self, resolve: Resolve | None = None, connect: Connect | None = None) -> None:
        self._resolve = resolve or _system_resolver()
        self._connect = connect or _connect

    @contextlib.asynccontextmanager
    async def ask(self, request: Request) -> AsyncIterator[Answer]:
        """Send a request, and have its answer for the length of the block. Nothing bounds how long it takes.

        Raises:
            InvalidArgument: ``request.field``, reason ``URL_FORBIDDEN_ADDRESS`` or ``URL_UNREACHABLE``, the latter
                within the block too, where the answer breaks off.
        """
        try:
            reader, writer = await self._open(request)
            try:
                yield await _exchange(reader, writer, request)
            finally:
                writer.transport.abort()  # a closing handshake would wait for the stranger
        except (OSError, h11.RemoteProtocolError) as error:
            description = f"{request.link.host} cannot be read: {_why(error)}"
            raise InvalidArgument.of(request.field, description, reason="URL_UNREACHABLE") from error

    async def _open(self, request: Request) -> Streams:
        """Connect to the first of the host's addresses that answers."""
        link = request.link
        addresses = await self._resolve(link.host, link.port)
        if not addresses or not all(is_public(address) for address in addresses):
            description = f"{link.host} is not on the open internet"
            raise InvalidArgument.of(request.field, description, reason="URL_FORBIDDEN_ADDRESS")
        failure = OSError("no address")
        for address in addresses[:_MAX_ADDRESSES]:
            try:
                return await self._connect(address, link.port, link.host)
            except OSError as error:
                failure = error
        raise failure


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> Answer:
    """One request over an open connection, and its answer up to the end of the head."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
    headers = {
        "Host": request.link.authority,
        "User-Agent": "lensora-studio",
        **request.headers,
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if request.body:
        headers["Content-Length"] = str(len(request.body))
    asked = h11.Request(method=request.method, target=request.link.target, headers=list(headers.items()))
    events = (asked, *([h11.Data(request.body)] if request.body else []), h11.EndOfMessage())
    writer.write(b"".join(http.send(event) or b"" for event in events))
    await writer.drain()
    while not isinstance(head := await _next(http, reader), h11.Response):
        pass  # an interim answer, such as 103
    told = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    return Answer(head.status_code, told, _body(http, reader))


async def _body(http: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while isinstance(event := await _next(http, reader), h11.Data):
        yield bytes(event.data)


async def _next(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Event:
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await reader.read(_CHUNK_BYTES))
    if not isinstance(event, h11.Event):
        raise h11.RemoteProtocolError("the connection was closed")
    return event


def _why(error: Exception) -> str:
    match error:
        case ssl.SSLError():
            return "its TLS certificate or connection is not in order"
        case socket.gaierror():
            return "its name is not known"
        case h11.RemoteProtocolError():
            return "it speaks no proper HTTP"
        case _:
            return "it does not answer"


def _system_resolver() -> Resolve:
    """``getaddrinfo`` in threads of its own: a stranger's slow name server holds up nobody's work."""
    pool = ThreadPoolExecutor(_MAX_NAMES_AT_ONCE, thread_name_prefix="names")

    async def resolve(host: str, port: int) -> list[str]:
        look_up = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(pool, look_up)
        return [str(address[0]) for *_, address in found]

    return resolve


@functools.cache
def _trust() -> ssl.SSLContext:
    """The system's certificate authorities; ``SSL_CERT_FILE`` names others."""
    return ssl.create_default_context()


async def _connect(address: str, port: int, host: str) -> Streams:
    return await asyncio.open_connection(address, port, ssl=_trust(), server_hostname=host)
