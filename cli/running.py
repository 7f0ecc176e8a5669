"""How every command runs and ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, NoReturn

import typer
from rich.console import Console

from lensora.core.errors import LensoraError

_INTERRUPTED = 130


@contextlib.contextmanager
def typed_errors(console: Console) -> Iterator[None]:
    """A typed error becomes one readable line and exit status 1; an interrupt, 130."""
    try:
        yield
    except LensoraError as error:
        console.print(f"[bold red]{error.reason}[/]  {error.message}", soft_wrap=True, highlight=False)
        _exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("stopped")
        _exit(_INTERRUPTED)


def _exit(status: int) -> NoReturn:
    raise typer.Exit(status)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end; SIGINT and SIGTERM cancel ``main``, which then cleans up."""

    async def cancellable() -> Any:
        task = asyncio.ensure_future(main)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await task

    return asyncio.run(cancellable())
