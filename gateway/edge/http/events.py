"""A job's events as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator

from fastapi import Response
from starlette.types import Receive, Scope, Send

from gateway.model import JobEvent
from lensora.core.errors import NotFound

_KEEP_ALIVE_SECONDS = 15.0
_KEPT_EVENTS = 4096
_HELLO = b"retry: 1000\n\n"
_KEEP_ALIVE = b": still here\n\n"


@functools.lru_cache(maxsize=_KEPT_EVENTS)
def frame(event: JobEvent) -> bytes:
    """The event as bytes, made once for all who watch."""
    return _frame(event, _fields(event))


def last_frame(event: JobEvent, result: str) -> bytes:
    """The terminal event, which carries the job."""
    return _frame(event, f'{_fields(event)},"job":{result}')


def _fields(event: JobEvent) -> str:
    fields = {
        "seq": event.seq,
        "time": event.time.isoformat().replace("+00:00", "Z"),
        "step": event.step,
        "state": event.state,
        "fraction": round(event.fraction, 4),
        "status": event.status,
        "progress": round(event.progress, 4),
    }
    return json.dumps(fields, separators=(",", ":"))[1:-1]


def _frame(event: JobEvent, fields: str) -> bytes:
    return f"id: {event.seq}\ndata: {{{fields}}}\n\n".encode()


class EventStream(Response):
    """Sends frames as they come, and comments while none do, until they end, the caller leaves, or the process drains.

    Args:
        frames: of one job.
        draining: set once the process stops; the caller's browser then resumes at another.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], draining: asyncio.Event) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames, self._draining = frames, draining
        self._sent_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Serve the stream."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self._send(send, _HELLO)
        parts = (self._tell(send), self._keep_alive(send), _left(receive), self._drained())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            with contextlib.suppress(NotFound):  # the job was deleted: who comes back is told so
                task.result()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, send: Send) -> None:
        async for data in self._frames:
            await self._send(send, data)

    async def _keep_alive(self, send: Send) -> None:
        while True:
            silent = asyncio.get_running_loop().time() - self._sent_at
            if silent >= _KEEP_ALIVE_SECONDS:
                await self._send(send, _KEEP_ALIVE)
            else:
                await asyncio.sleep(_KEEP_ALIVE_SECONDS - silent)

    async def _drained(self) -> None:
        await self._draining.wait()

    async def _send(self, send: Send, data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})
        self._sent_at = asyncio.get_running_loop().time()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
