"""Fetching what a stranger links, under limits: the only place of the whole system that opens such a connection.

Every hop is judged by all its addresses before any of them is touched, and the connection is made to the very address
that was judged, so a name that changes its mind between the two gains nothing (docs/adr/0007).
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin

import h11

from lensora.core.errors import InvalidArgument
from lensora.core.imaging import MAX_FILE_BYTES
from lensora.core.links import Link, parse
from lensora.core.upload import too_large
from services.background.core.addresses import is_public

FIELD = "background.url"

MAX_SECONDS = 10.0
"""From the look-up of the first name to the last byte, redirects included."""

MAX_REDIRECTS = 3

_MAX_AT_ONCE = 8
_MAX_ADDRESSES = 4
_MAX_HEAD_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024
_MOVED = frozenset((301, 302, 303, 307, 308))

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The numeric addresses of (host, port), best first; raises ``OSError``."""

Connect = Callable[[str, int, str], Awaitable[Streams]]
"""A TLS connection to (numeric address, port) that proves to be (host); raises ``OSError``."""


class Fetcher:
    """Fetches links; ``resolve`` and ``connect`` are the system's unless a test brings its own."""

    def __init__(
        self, resolve: Resolve | None = None, connect: Connect | None = None, seconds: float = MAX_SECONDS
    ) -> None:
        self._resolve = resolve or _system_resolver()
        self._connect = connect or _connect
        self._seconds = seconds
        self._turns = asyncio.Semaphore(_MAX_AT_ONCE)

    async def fetch(self, url: str) -> bytes:
        """The bytes behind ``url``, at most ``MAX_FILE_BYTES``; what they are is not looked at.

        Raises:
            InvalidArgument: field ``background.url``; the reasons of ``lensora.core.links.parse``,
                ``URL_FORBIDDEN_ADDRESS``, ``URL_UNREACHABLE``, ``URL_TOO_SLOW``, ``URL_REDIRECTS``, ``URL_STATUS``
                or ``IMAGE_TOO_LARGE``.
        """
        try:
            async with self._turns, asyncio.timeout(self._seconds):
                return await self._follow(url)
        except TimeoutError:
            raise _refused(f"the picture did not come within {self._seconds:g} s", "URL_TOO_SLOW") from None

    async def _follow(self, url: str) -> bytes:
        for _ in range(1 + MAX_REDIRECTS):
            found = await self._get(parse(url, FIELD))
            if isinstance(found, bytes):
                return found
            url = _joined(url, found)
        raise _refused(f"more than {MAX_REDIRECTS} redirects", "URL_REDIRECTS")

    async def _get(self, link: Link) -> bytes | str:
        """What the link holds, or where it leads."""
        try:
            reader, writer = await self._open(link)
            try:
                return await _exchange(reader, writer, link)
            finally:
                writer.transport.abort()  # a closing handshake would wait for the stranger
        except (OSError, h11.RemoteProtocolError) as error:
            raise _refused(f"{link.host} cannot be read: {_why(error)}", "URL_UNREACHABLE") from error

    async def _open(self, link: Link) -> Streams:
        """Connect to the first of the host's addresses that answers."""
        addresses = await self._resolve(link.host, link.port)
        if not addresses or not all(is_public(address) for address in addresses):
            raise _refused(f"{link.host} is not on the open internet", "URL_FORBIDDEN_ADDRESS")
        failure = OSError("no address")
        for address in addresses[:_MAX_ADDRESSES]:
            try:
                return await self._connect(address, link.port, link.host)
            except OSError as error:
                failure = error
        raise failure


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link) -> bytes | str:
    """One GET over an open connection: the body, or the address that a redirect names."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
    headers = [
        ("Host", link.authority),
        ("User-Agent", "lensora-studio"),
        ("Accept", "image/jpeg, image/png, image/webp"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    head = http.send(h11.Request(method="GET", target=link.target, headers=headers)) or b""
    writer.write(head + (http.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_CHUNK_BYTES))
        elif isinstance(event, h11.Response):
            location = _checked_head(event)
            if location is not None:
                return location
        elif isinstance(event, h11.Data):
            body += event.data
            _check_size(len(body))
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)


def _checked_head(response: h11.Response) -> str | None:
    """Where a redirect leads; None for an answer with a body worth reading."""
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in response.headers}
    if response.status_code in _MOVED and "location" in headers:
        return headers["location"]
    if response.status_code != 200:
        raise _refused(f"its server answered with status {response.status_code}, not with a picture", "URL_STATUS")
    _check_size(int(headers.get("content-length", "0")))  # h11 has seen that it is a number
    return None


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise _refused("it redirects to what is no link", "URL_INVALID") from None


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise too_large(FIELD, size)


def _refused(description: str, reason: str) -> InvalidArgument:
    return InvalidArgument.of(FIELD, description, reason=reason)


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
    """``getaddrinfo`` in threads of its own: a stranger's slow name server holds up nobody's decoding."""
    pool = ThreadPoolExecutor(_MAX_AT_ONCE, thread_name_prefix="names")

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
