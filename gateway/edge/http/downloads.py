"""Stored bytes over HTTP: whole, in ranges, or not at all where the caller has them (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import asyncio
import re
from typing import BinaryIO

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from gateway.edge.http import problems
from gateway.model import StoredBlob

_CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Download(Response):
    """Part of an open file, which is closed at the end.

    Args:
        file: to send.
        start: first byte.
        size: how many.
        status: 200 or 206.
        headers: to send with them.
        media_type: fixed by what made the bytes, never guessed.
    """

    def __init__(
        self, file: BinaryIO, start: int, size: int, status: int, headers: dict[str, str], media_type: str
    ) -> None:
        super().__init__(None, status, headers, media_type)
        self.headers["Content-Length"] = str(size)
        self._file, self._start, self._left = file, start, size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Serve the bytes."""
        with self._file:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                await asyncio.to_thread(self._file.seek, self._start)
                while self._left > 0:
                    chunk = await asyncio.to_thread(self._file.read, min(_CHUNK_BYTES, self._left))
                    if not chunk:
                        raise EOFError("a stored file is shorter than it was")
                    self._left -= len(chunk)
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def download(request: Request, stored: StoredBlob, file: BinaryIO, name: str, max_age_s: int) -> Response:
    """The response that the request's conditions and range ask for.

    Args:
        request: of the caller.
        stored: what the file is.
        file: open; closed by the response, or here.
        name: to save it under.
        max_age_s: how long a browser may keep it, seconds.
    """
    tag = f'"{stored.sha256}"'
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={max_age_s}, immutable",
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if _has(request.headers.get("if-none-match", ""), tag):
        file.close()
        return Response(None, 304, headers)
    wanted = _range(request, stored.size, tag)
    if wanted is None:
        return Download(file, 0, stored.size, 200, headers, stored.media_type)
    start, end = wanted
    if start >= end:
        file.close()
        headers = {"Content-Range": f"bytes */{stored.size}", "Accept-Ranges": "bytes"}
        return problems.problem(416, "RANGE_NOT_SATISFIABLE", f"the file has {stored.size} bytes", headers=headers)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
    return Download(file, start, end - start, 206, headers, stored.media_type)


def _has(condition: str, tag: str) -> bool:
    """Whether an If-None-Match names the tag; a weak one will do."""
    tags = [item.strip().removeprefix("W/") for item in condition.split(",")]
    return tag in tags or tags == ["*"]


def _range(request: Request, size: int, tag: str) -> tuple[int, int] | None:
    """First byte, and the one after the last; None for all. More than one range, or one that is none, asks for all."""
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if request.method != "GET" or match is None or not (match[1] or match[2]):
        return None
    if request.headers.get("if-range", tag) != tag:
        return None  # of another file than the caller has a part of
    if not match[1]:
        return max(0, size - int(match[2])), size if int(match[2]) else 0
    start, end = int(match[1]), int(match[2]) + 1 if match[2] else size
    return None if match[2] and end <= start else (start, min(end, size))
