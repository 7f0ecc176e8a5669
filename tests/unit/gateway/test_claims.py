"""Which replica makes which stage: rows on Postgres, and none where there is but one gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from gateway.blobs import open_store
from gateway.retention import Retention
from gateway.settings import Settings
from gateway.store import Claims, Database, Store
from gateway.store.tables import stage_claims
from tests.postgres import Postgres

MINE = ("somebody", "d" * 64)


@pytest.fixture
async def database(postgres: Postgres, postgres_template: str) -> AsyncIterator[Database]:
    made = Database(postgres.new_database(postgres_template))
    for executor_id in ("one", "two"):
        await lease(made, executor_id, 60)
    yield made
    made.close()


async def lease(database: Database, executor_id: str, seconds: float) -> None:
    await Store(database).renew_lease(executor_id, datetime.now(UTC) + timedelta(seconds=seconds))


def rows(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(stage_claims)).scalar_one())


async def waiter(claims: Claims) -> asyncio.Task[None]:
    """One who wants what another holds; it is done once it had it."""

    async def want() -> None:
        async with asyncio.timeout(5), claims.held(*MINE):
            pass

    task = asyncio.create_task(want())
    await asyncio.sleep(0.3)
    assert not task.done()
    return task


async def test_another_replica_waits_until_it_is_released(database: Database) -> None:
    one, two = Claims(database, "one"), Claims(database, "two")
    async with one.held(*MINE):
        waits = await waiter(two)
        async with asyncio.timeout(5), two.held("somebody", "e" * 64), two.held("another", MINE[1]):
            assert not waits.done(), "what is claimed is the account's own result, and no other"
    await waits
    assert rows(database) == 0


async def test_one_that_fails_or_is_cancelled_lets_go(database: Database) -> None:
    one = Claims(database, "one")
    with pytest.raises(LookupError):
        async with one.held(*MINE):
            raise LookupError
    holder = asyncio.create_task(_hold(one))
    async with asyncio.timeout(5):
        while not rows(database):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)
    assert rows(database) == 0


async def _hold(claims: Claims) -> None:
    async with claims.held(*MINE):
        await asyncio.Event().wait()


async def test_one_that_waits_and_is_cancelled_leaves_the_other_its_claim(database: Database) -> None:
    async with Claims(database, "one").held(*MINE):
        waits = await waiter(Claims(database, "two"))
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        assert rows(database) == 1


async def test_a_dead_replicas_claim_counts_for_as_long_as_its_lease(database: Database) -> None:
    one, two = Claims(database, "one"), Claims(database, "two")
    async with one.held(*MINE), two.held("another", MINE[1]):
        waits = await waiter(two)
        await lease(database, "one", -1)
        await waits
    assert rows(database) == 0, "its late release harms nobody"


async def test_a_replica_that_comes_back_releases_what_it_was_at(database: Database) -> None:
    await Claims(database, "one")._take(*MINE)  # and is killed
    reborn, two = Claims(database, "one"), Claims(database, "two")
    waits = await waiter(two)
    await reborn.tidy()
    await waits


async def test_tidying_leaves_what_is_being_made(database: Database) -> None:
    one, two = Claims(database, "one"), Claims(database, "two")
    async with one.held(*MINE):
        await one.tidy()
        await two.tidy()
        assert rows(database) == 1


async def test_a_release_that_fails_is_made_up_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Claims(database, "one")

    async def fails(*_: Any) -> None:
        raise OperationalError("DELETE", {}, OSError("gone"))

    with monkeypatch.context() as patch:
        patch.setattr(Claims, "_release", fails)
        async with one.held(*MINE):
            pass
    assert rows(database) == 1
    await one.tidy()
    assert rows(database) == 0


async def test_claims_of_replicas_that_never_come_back_go(database: Database, tmp_path: Path) -> None:
    await Claims(database, "one")._take(*MINE)
    retention = Retention(Settings(home=tmp_path), Store(database), open_store("", tmp_path, 60))
    await retention.expire(datetime.now(UTC))
    assert rows(database) == 1
    await lease(database, "one", -1)
    await retention.expire(datetime.now(UTC))
    assert rows(database) == 0


async def test_where_there_is_one_gateway_no_rows_are_needed(tmp_path: Path) -> None:
    database = Database.file(tmp_path / "studio.db")
    await Store(database).open()
    async with Claims(database, "local").held(*MINE):
        assert rows(database) == 0
    database.close()
