"""Which replica makes which result of a stage, so that no two make the same at the same time.

A row says so while the lease of its replica runs, which begins before its first claim. SQLite has one gateway a file,
which needs no rows: within a process ``gateway.stages`` lets those who want the same wait for each other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import structlog
from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from gateway.store.database import Database, in_thread
from gateway.store.tables import executors
from gateway.store.tables import stage_claims as table

_LOOK_SECONDS = 0.1

_log = structlog.get_logger()


class Claims:
    """One replica's claims."""

    def __init__(self, database: Database, executor_id: str) -> None:
        self.database, self._executor_id = database, executor_id
        self._held: set[tuple[str, str]] = set()

    @contextlib.asynccontextmanager
    async def held(self, account: str, digest: str) -> AsyncIterator[None]:
        """The time in which no other replica makes this result; waits for it while another does."""
        if self.database.is_sqlite:
            yield
            return
        self._held.add((account, digest))
        try:
            while not await self._take(account, digest):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(_LOOK_SECONDS)
            yield
        finally:
            self._held.discard((account, digest))
            try:
                await self._release(account, digest)
            except DBAPIError as error:  # ``tidy`` makes up for it
                _log.error("claim not released", error=type(error.orig).__name__)

    async def tidy(self) -> None:
        """Release what this replica claims and does not make: it was killed, or the database was away."""
        if self.database.is_sqlite:
            return
        for account, digest, since in await self._mine():
            if (account, digest) not in self._held:
                await self._release(account, digest, table.c.created_at == since)  # not one that was taken anew
                _log.warning("claim released", account=account, digest=digest)

    @in_thread
    def _take(self, account: str, digest: str) -> bool:
        row = {
            "account_id": account,
            "digest": digest,
            "executor_id": self._executor_id,
            "created_at": datetime.now(UTC),
        }
        living = select(executors.c.executor_id).where(executors.c.expires_at > datetime.now(UTC))
        free = or_(table.c.executor_id == self._executor_id, table.c.executor_id.not_in(living))
        claim = insert(table).values(row).on_conflict_do_update(constraint=table.primary_key, set_=row, where=free)
        with self.database.writing() as connection:
            return connection.execute(claim.returning(table.c.digest)).first() is not None

    @in_thread
    def _mine(self) -> list[tuple[str, str, datetime]]:
        query = select(table.c.account_id, table.c.digest, table.c.created_at)
        with self.database.reading() as connection:
            found = connection.execute(query.where(table.c.executor_id == self._executor_id))
            return [(account, digest, since) for account, digest, since in found]

    @in_thread
    def _release(self, account: str, digest: str, *which: ColumnElement[bool]) -> None:
        mine = (table.c.account_id == account, table.c.digest == digest, table.c.executor_id == self._executor_id)
        with self.database.writing() as connection:
            connection.execute(delete(table).where(*mine, *which))
