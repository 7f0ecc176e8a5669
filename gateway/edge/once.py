"""What many ask for at the same moment is made once for all of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")

_KEPT_SECONDS = 10.0


class Once(Generic[Value]):
    """Makes a thing once for all who ask for it at about the same time."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Value]] = {}

    async def get(self, key: str, make: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """The thing of this key."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(make())
            task.add_done_callback(functools.partial(self._keep, key))
        return await asyncio.shield(task)

    def _keep(self, key: str, task: asyncio.Task[Value]) -> None:
        """For a while; a failure is told to those who wait for it, and to nobody later."""
        failed = task.cancelled() or task.exception() is not None
        asyncio.get_running_loop().call_later(0.0 if failed else _KEPT_SECONDS, self._tasks.pop, key, None)
