"""uvicorn in the gateway's own loop, beside grpc.aio."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.edge.http.app import create_app
from gateway.edge.http.border import ABORT
from gateway.edge.http.edge import Edge
from lensora.core.errors import Unavailable

_HEADER_SECONDS = 10.0
_IDLE_SECONDS = 30
_BACKLOG = 2048
_WRITE_BUFFER_BYTES = 64 * 1024


class _Protocol(H11Protocol):
    """uvicorn's, which waits for ever for a request's head, and keeps the connection to itself."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._serve: Any = self.app
        self.app = self._with_abort
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(_WRITE_BUFFER_BYTES)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        """Give a head that has begun so long to end, however slowly its bytes come."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._unwatch_head()
        elif self._late is None:
            self._late = self.loop.call_later(_HEADER_SECONDS, self.transport.abort)

    def _unwatch_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    async def _with_abort(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"] = {ABORT: self.transport.abort}
        await self._serve(scope, receive, send)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to the process."""
        yield


class HttpServer:
    """Listens at once, serves from ``start`` to ``stop``.

    Args:
        edge: what to serve, and where; port 0 takes a free one.

    Raises:
        Unavailable: reason ``ADDRESS_IN_USE``.
    """

    def __init__(self, edge: Edge) -> None:
        self._edge, settings = edge, edge.settings
        self._socket = _listening(settings.http_listen)
        host, _, _ = settings.http_listen.rpartition(":")
        self.address = f"{host}:{self._socket.getsockname()[1]}"
        edge.signer.base = settings.public_url.rstrip("/") or f"http://{self.address}"
        self._server = _Server(
            uvicorn.Config(
                create_app(edge),
                http=_Protocol,
                ws="none",
                loop="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
                backlog=_BACKLOG,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # uvicorn has no event for it
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Take no new requests, ask watchers to come back elsewhere, let the rest finish for a while, and end."""
        self._edge.draining.set()
        if self._task is None:
            self._socket.close()
        else:
            self._server.should_exit = True
            await self._task
        await self._edge.health.close()


def _listening(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, protocol)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
            taken.listen(_BACKLOG)  # now, so that a second process here fails, rather than the first request
        except OSError:
            taken.close()
            raise
    except (OSError, ValueError) as error:
        raise Unavailable(f"cannot listen on {listen}: is something else there?", reason="ADDRESS_IN_USE") from error
    taken.setblocking(False)
    return taken
