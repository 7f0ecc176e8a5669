"""The connection to SQLite or Postgres: one writer's and one reader's door, for both.

What is done with a database blocks, in threads of its own: a transaction is one visit to a thread, where a driver that
awaits would come back to the event loop after each statement, at several times the cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway.settings import Settings
from lensora.core.errors import Unavailable

Value = TypeVar("Value")
Given = ParamSpec("Given")

_THREADS = 8
_POOL = {"pool_size": _THREADS, "max_overflow": _THREADS, "pool_pre_ping": True}
_ALIVE = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,  # milliseconds; the rest is in seconds
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}
"""How long Postgres may be silent on a connection, else a host that is gone would hold every thread for a quarter of an
hour."""


GONE = (OperationalError, InterfaceError, PoolTimeoutError)
"""What is raised while the database does not answer, or has no connection to spare."""


def explained(error: BaseException) -> BaseException:
    """A database that does not answer, as callers are told of it; any other error as it is."""
    if not isinstance(error, GONE):
        return error
    return Unavailable("the database does not answer; nothing was done", reason="DATABASE_DOWN", retry_after_s=2.0)


class Database:
    """All of a gateway's tables, and those of the workflow engine beside them.

    Args:
        url: ``sqlite:///absolute/file`` or ``postgresql://user:password@host/name``.
    """

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = sqlalchemy.create_engine(_with_driver(self.url), connect_args=self._alive, **_POOL)
        self._writer = self._engine.execution_options(writing=True)
        # Postgres shows each statement what was committed before it, in a transaction or not: no need to pay for one
        self._reader = self._engine if self.is_sqlite else self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._turn = threading.Lock() if self.is_sqlite else contextlib.nullcontext()
        self._threads = ThreadPoolExecutor(_THREADS, "database")
        if self.is_sqlite:
            event.listen(self._engine, "connect", lambda connection, _: _make_durable(connection, None))
            event.listen(self._engine, "begin", _begin)

    @classmethod
    def file(cls, path: Path) -> Database:
        """SQLite, one file of any name."""
        return cls(URL.create("sqlite", database=str(path)))

    @classmethod
    def of(cls, settings: Settings) -> Database:
        """The one that a gateway's settings name; its folder must be there."""
        return cls(settings.database_url) if settings.database_url else cls.file(settings.home / "studio.db")

    @property
    def _alive(self) -> dict[str, int]:
        return {} if self.is_sqlite else {name: value for name, value in _ALIVE.items() if name not in self.url.query}

    async def run(self, work: Callable[Given, Value], *given: Given.args, **named: Given.kwargs) -> Value:
        """Do what blocks on this database in one of its threads.

        It is done to its end though who waits is cancelled, which only then goes on: so what somebody does after a
        cancel never meets the rest of what was done before.
        """
        call = functools.partial(contextvars.copy_context().run, work, *given, **named)
        return await _whole(asyncio.get_running_loop().run_in_executor(self._threads, call))

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read through."""
        with self._reader.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end of the block, or rolled back by an exception."""
        # SQLite lets those who want to write wait asleep, ever longer; here they are woken
        with self._turn, self._writer.begin() as connection:
            yield connection

    def workflow_engine(self) -> Engine:
        """A second engine on the same database, for DBOS, which begins its transactions as its driver does."""
        pool = {} if self.is_sqlite else _POOL
        engine = sqlalchemy.create_engine(_with_driver(self.url), connect_args=self._alive, **pool)
        if self.is_sqlite:
            event.listen(engine, "connect", lambda connection, _: _make_durable(connection, "IMMEDIATE"))
        return engine

    def close(self) -> None:
        """Wait for what was begun, and close all connections."""
        self._threads.shutdown()
        self._engine.dispose()


class _Stored(Protocol):
    @property
    def database(self) -> Database: ...


Self = TypeVar("Self", bound=_Stored)


def in_thread(
    method: Callable[Concatenate[Self, Given], Value],
) -> Callable[Concatenate[Self, Given], Coroutine[Any, Any, Value]]:
    """A method that blocks on ``self.database``, as a coroutine that does so in one of the database's threads."""

    async def run(self: Self, /, *given: Given.args, **named: Given.kwargs) -> Value:
        return await self.database.run(method, self, *given, **named)

    functools.update_wrapper(run, method)
    return run


async def _whole(step: Awaitable[Value]) -> Value:
    """Await a step to its end, however often the waiting is cancelled meanwhile."""
    task = asyncio.ensure_future(step)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # asked for, so that it is not missed; who was cancelled is not told
        raise cancelled
    return task.result()


def _with_driver(url: URL) -> URL:
    backend = url.get_backend_name()
    return url.set(drivername=f"{backend}+{'pysqlite' if backend == 'sqlite' else 'psycopg'}")


def _make_durable(connection: Any, isolation_level: str | None) -> None:
    connection.isolation_level = isolation_level  # None: the driver begins nothing by itself
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Connection) -> None:
    """Let a writer take SQLite's lock at once.

    A transaction that begins by reading, and meets another writer before it writes, would fail and not wait.
    """
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
