"""The connection to SQLite or Postgres: one writer's and one reader's door, for both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from gateway.settings import Settings
from lensora.core.errors import Unavailable

Value = TypeVar("Value")

_POOL = {"pool_size": 20, "max_overflow": 20, "pool_pre_ping": True}


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
        self._engine = create_async_engine(_with_driver(self.url, "aiosqlite"), **_POOL)
        self._writer = self._engine.execution_options(writing=True)
        # Postgres shows each statement what was committed before it, in a transaction or not: no need to pay for one
        self._reader = self._engine if self.is_sqlite else self._engine.execution_options(isolation_level="AUTOCOMMIT")
        if self.is_sqlite:
            event.listen(self._engine.sync_engine, "connect", lambda connection, _: _make_durable(connection, None))
            event.listen(self._engine.sync_engine, "begin", _begin)

    @classmethod
    def file(cls, path: Path) -> Database:
        """SQLite, one file of any name."""
        return cls(URL.create("sqlite", database=str(path)))

    @classmethod
    def of(cls, settings: Settings) -> Database:
        """The one that a gateway's settings name; its folder must be there."""
        return cls(settings.database_url) if settings.database_url else cls.file(settings.home / "studio.db")

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read through."""
        connection = _Steady(self._reader)
        try:
            await _whole(connection.start())
            yield connection
        finally:
            if connection.sync_connection is not None:
                await _whole(connection.close())

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end of the block, or rolled back by an exception."""
        connection = _Steady(self._writer)
        try:
            await _whole(connection.start())
            transaction = connection.begin()
            await _whole(transaction.start())
            yield connection
            await _whole(transaction.commit())
        finally:
            if connection.sync_connection is not None:
                await _whole(connection.close())  # which rolls back what was not committed

    def sync_engine(self) -> Engine:
        """A second, blocking engine on the same database, for the workflow engine, which begins as its driver does."""
        engine = sqlalchemy.create_engine(_with_driver(self.url, "pysqlite"), **({} if self.is_sqlite else _POOL))
        if self.is_sqlite:
            event.listen(engine, "connect", lambda connection, _: _make_durable(connection, "IMMEDIATE"))
        return engine

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


class _Steady(AsyncConnection):
    """A connection whose statements are finished though who waits for them is cancelled; the cancel then goes on.

    A driver that is cut off in the middle leaves its connection in a state that nobody knows: SQLite's may keep the
    lock that all other writers wait for.
    """

    async def execute(self, *arguments: Any, **keywords: Any) -> Any:
        """See ``AsyncConnection``."""
        return await _whole(super().execute(*arguments, **keywords))

    async def run_sync(self, *arguments: Any, **keywords: Any) -> Any:
        """See ``AsyncConnection``."""
        return await _whole(super().run_sync(*arguments, **keywords))


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


def _with_driver(url: URL, sqlite: str) -> URL:
    backend = url.get_backend_name()
    return url.set(drivername=f"sqlite+{sqlite}" if backend == "sqlite" else f"{backend}+psycopg")


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
