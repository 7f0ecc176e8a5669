"""What many ask for at the same moment is made once for all of them."""

from __future__ import annotations

import asyncio
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
            asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._tasks.pop, key, None)
        return await asyncio.shield(task)
