"""Coroutines for engines, which run in threads and know no event loop.

gRPC's asyncio wants one loop a process, so in a service the engine's threads use the service's. Where there is none (a
worker process, a benchmark) a loop of our own runs in a thread for as long as the process lives.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from lensora.core.engines import Context

Result = TypeVar("Result")

_CHECK_SECONDS = 0.2
_lent: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("lent", default=None)


def lend(loop: asyncio.AbstractEventLoop) -> None:
    """Let the calling thread use the service's loop; the initializer of a pool of engine threads."""
    _lent.set(loop)


def current() -> asyncio.AbstractEventLoop:
    """The loop that ``wait`` uses in this thread."""
    return _lent.get() or _own()


def wait(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Result], context: Context) -> Result:
    """Run ``work`` in ``loop``, which runs in another thread, and wait; it is cancelled once it is no longer wanted.

    Raises:
        Cancelled, DeadlineExceeded: what the context's ``check`` raised.
    """
    future = asyncio.run_coroutine_threadsafe(work, loop)
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    try:
        while not done.wait(_CHECK_SECONDS):
            context.check()
        return future.result()
    finally:
        future.cancel()


@functools.cache
def _own() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="lensora-loop", daemon=True).start()
    return loop
