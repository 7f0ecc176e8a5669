"""Around every request: its id, its log line, a bound on how long it may stall, and an end that both sides hear."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lensora.runtime.interceptors import REQUEST_ID, request_id
from lensora.runtime.telemetry import ServedCall

ABORT = "lensora.abort"
"""Extension of the scope: cuts the connection, whatever is still to be written."""

_QUIET = ("/healthz", "/readyz")
_DRAIN_SECONDS, _DRAIN_BYTES = 2.0, 10_000_000
_log = structlog.get_logger()


class Stalled(Exception):
    """The caller took nothing of the answer for too long."""


class Border:
    """The outermost layer; what passes it is never an exception."""

    def __init__(self, app: ASGIApp, stall_seconds: float) -> None:
        self._app, self._stall_seconds = app, stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            await _Call(scope, receive, send, self._stall_seconds).serve(self._app)


class _Call:
    def __init__(self, scope: Scope, receive: Receive, send: Send, stall_seconds: float) -> None:
        self._scope, self._receive, self._send, self._stall_seconds = scope, receive, send, stall_seconds
        headers = Headers(scope=scope)
        self._headers = headers
        self._id = request_id(headers.get(REQUEST_ID, ""))
        self._unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._status, self._whole = 0, False
        self._error: Exception | None = None

    async def serve(self, app: ASGIApp) -> None:
        if self._scope["path"] in _QUIET:
            await self._answer(app, _log.debug)
            return
        served = ServedCall(self._scope["method"], self._headers, public=True)
        try:
            await self._answer(app, _log.info)
        finally:
            route = getattr(self._scope.get("route"), "path", "")  # not the path, which names jobs
            name = f"{self._scope['method']} {route}".strip()
            served.end(self._error, name, **{"http.response.status_code": self._status})

    async def _answer(self, app: ASGIApp, log: Callable[..., Any]) -> None:
        method = f"{self._scope['method']} {self._scope['path'][:200]}"
        structlog.contextvars.bind_contextvars(request_id=self._id, method=method)
        start = time.monotonic()
        try:
            await app(self._scope, self.receive, self.send)
            log("call", status=self._status, seconds=round(time.monotonic() - start, 4))
        except ClientDisconnect:
            log("call", status="left", seconds=round(time.monotonic() - start, 4))
        except Stalled:
            log("call", status="stalled", seconds=round(time.monotonic() - start, 4))
            self._abort()
        except Exception as error:  # noqa: BLE001 - the outermost layer
            self._error = error
            _log.error("call", status=500, seconds=round(time.monotonic() - start, 4), exc_info=error)
            if not self._whole:
                self._abort()  # so that nobody takes half an answer for a whole one

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._id
            headers["X-Content-Type-Options"] = "nosniff"
            if self._unread:
                headers["Connection"] = "close"
        elif self._unread and not message.get("more_body", False):
            await self._write({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._write(message)
        self._whole = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def _write(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self._send(message)
        except TimeoutError:
            raise Stalled from None

    async def _drain(self) -> None:
        """Read on for a while, keeping nothing: a client that is cut off while it writes may never see why."""
        read = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while self._unread and read < _DRAIN_BYTES:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        return
                    read += len(message.get("body", b""))

    def _abort(self) -> None:
        self._scope["extensions"][ABORT]()
