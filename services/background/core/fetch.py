"""Fetching a picture that a stranger links, under limits; who may be connected to is ``lensora.core.outside``'s."""

from __future__ import annotations

import asyncio
from urllib.parse import urljoin

from lensora.core.errors import InvalidArgument
from lensora.core.imaging import MAX_FILE_BYTES
from lensora.core.links import Link, parse
from lensora.core.outside import Connect, Outside, Request, Resolve
from lensora.core.upload import too_large

FIELD = "background.url"

MAX_SECONDS = 10.0
"""From the look-up of the first name to the last byte, redirects included."""

MAX_REDIRECTS = 3

_MAX_AT_ONCE = 8
_MOVED = frozenset((301, 302, 303, 307, 308))
_HEADERS = {"Accept": "image/jpeg, image/png, image/webp"}


class Fetcher:
    """Fetches links; ``resolve`` and ``connect`` are the system's unless a test brings its own."""

    def __init__(
        self, resolve: Resolve | None = None, connect: Connect | None = None, seconds: float = MAX_SECONDS
    ) -> None:
        self._outside = Outside(resolve, connect)
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
        async with self._outside.ask(Request(link, FIELD, _HEADERS)) as answer:
            if answer.status in _MOVED and "location" in answer.headers:
                return answer.headers["location"]
            if answer.status != 200:
                raise _refused(f"its server answered with status {answer.status}, not with a picture", "URL_STATUS")
            _check_size(int(answer.headers.get("content-length", "0")))  # h11 has seen that it is a number
            body = bytearray()
            async for piece in answer.body:
                body += piece
                _check_size(len(body))
            return bytes(body)


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
