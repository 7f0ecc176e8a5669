"""The connection to SQLite or Postgres: one writer's and one reader's door, for both."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from gateway.settings import Settings

_POOL = {"pool_size": 20, "max_overflow": 20, "pool_pre_ping": True}


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

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection to read through."""
        return self._engine.connect()

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that is committed at the end of the block, or rolled back by an exception."""
        return self._writer.begin()

    def sync_engine(self) -> Engine:
        """A second, blocking engine on the same database, for the workflow engine, which begins as its driver does."""
        engine = sqlalchemy.create_engine(_with_driver(self.url, "pysqlite"), **({} if self.is_sqlite else _POOL))
        if self.is_sqlite:
            event.listen(engine, "connect", lambda connection, _: _make_durable(connection, "IMMEDIATE"))
        return engine

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


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
