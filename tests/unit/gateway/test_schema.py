"""The tables' versions, on both databases: up, down, and from what an earlier release left."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, inspect, text
from sqlalchemy.exc import DBAPIError

from gateway import accounts, ledger
from gateway.model import JobStatus
from gateway.store import Database, Store, references, schema
from gateway.store.tables import metadata
from lensora.core.errors import FailedPrecondition, InvalidArgument

RELEASE_0_1 = Path(__file__).with_name("release_0_1.sql")
"""A dump of a database that release 0.1 wrote: a session, a job that succeeded, one that was queued, a result."""


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    made = Database(empty_database)
    yield made
    made.close()


async def run(database: Database, change: Callable[..., Any], *values: Any) -> Any:
    with database.writing() as connection:
        return change(connection, *values)


def shape(connection: Connection) -> dict[str, Any]:
    """All that an inspection tells about the tables."""
    look = inspect(connection)
    return {
        table: (
            [{**column, "type": str(column["type"])} for column in look.get_columns(table)],
            sorted(look.get_indexes(table), key=str),
            look.get_pk_constraint(table)["constrained_columns"],
            sorted(look.get_foreign_keys(table), key=str),
            sorted(look.get_check_constraints(table), key=str),
        )
        for table in look.get_table_names()
    }


async def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    await Store(database).open()
    differences = await run(database, lambda c: compare_metadata(MigrationContext.configure(c), metadata))
    assert differences == []
    assert await run(database, schema.current) == schema.newest()


async def test_down_and_up_again(database: Database) -> None:
    await Store(database).open()
    accounts.create_key(database, "somebody")
    before = await run(database, shape)
    await run(database, schema.downgrade, "0001")
    assert await run(database, schema.current) == "0001"
    assert "api_keys" not in await run(database, shape)
    await run(database, schema.upgrade)
    assert await run(database, shape) == before
    await run(database, schema.downgrade, "base")
    assert set(await run(database, shape)) == {"alembic_version"}
    await run(database, schema.upgrade)
    assert await run(database, shape) == before
    assert accounts.list_keys(database) == []


@pytest.mark.parametrize("version", [schema.newest(), "9999", "head", "", "-1", "0001:0002"])
async def test_down_goes_only_to_what_is_below(database: Database, version: str) -> None:
    await Store(database).open()
    with pytest.raises(InvalidArgument):
        await run(database, schema.downgrade, version)
    assert await run(database, schema.current) == schema.newest()


async def test_a_build_that_may_not_migrate_refuses_old_tables(database: Database) -> None:
    for _ in range(2):
        with pytest.raises(FailedPrecondition, match="lensora db upgrade") as caught:
            await Store(database).open(migrate=False)
        assert caught.value.reason == "SCHEMA_TOO_OLD"
        await run(database, schema.upgrade)
        await run(database, schema.downgrade, "0001")
    await run(database, schema.upgrade)
    await Store(database).open(migrate=False)


async def test_an_old_build_refuses_new_tables(database: Database) -> None:
    await Store(database).open()
    await run(database, lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    for migrate in (True, False):
        with pytest.raises(FailedPrecondition) as caught:
            await Store(database).open(migrate=migrate)
        assert caught.value.reason == "SCHEMA_TOO_NEW"


async def test_many_replicas_that_start_at_once_migrate_once(empty_database: str) -> None:
    databases = [Database(empty_database) for _ in range(6)]
    await asyncio.gather(*(Store(database).open() for database in databases))
    assert {await run(database, schema.current) for database in databases} == {schema.newest()}
    for database in databases:
        database.close()


@pytest.mark.parametrize("table", ["ledger_transactions", "ledger_entries"])
@pytest.mark.parametrize("change", ["UPDATE {} SET account_id = 'x'", "DELETE FROM {}"])
async def test_what_is_booked_stays(database: Database, table: str, change: str) -> None:
    await Store(database).open()
    with database.writing() as connection:
        ledger.grant(connection, "somebody", "1", 100)
    with pytest.raises(DBAPIError, match=f"{table} is append-only"):
        await run(database, lambda c: c.execute(text(change.format(table))))
    with database.reading() as connection:
        assert ledger.entries(connection, "somebody", 10)[0].available == 100


@pytest.fixture
async def old_home(tmp_path: Path) -> AsyncIterator[Database]:
    file = tmp_path / "studio.db"
    with sqlite3.connect(file) as connection:
        connection.executescript(RELEASE_0_1.read_text())
    connection.close()
    database = Database(f"sqlite:///{file}")
    yield database
    database.close()


async def test_the_first_version_is_what_release_0_1_made(old_home: Database, tmp_path: Path) -> None:
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    await run(other, schema.upgrade)
    await run(other, schema.downgrade, "0001")
    made = await run(other, shape)
    del made["alembic_version"]
    assert await run(old_home, shape) == made
    assert await run(old_home, schema.current) == "0001"
    other.close()


async def test_what_release_0_1_left_is_all_there(old_home: Database) -> None:
    store = Store(old_home)
    await store.open()
    (_, queued), (_, done) = await store.list_jobs("local", 10, None)
    assert (done.job_id, done.status, done.price, len(done.artifacts)) == (
        "0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c21",
        JobStatus.SUCCEEDED,
        0,
        5,
    )
    assert (queued.job_id, queued.status, queued.price) == ("0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c22", JobStatus.QUEUED, 0)
    assert [run.workflow_id for run in await store.open_runs()] == ["0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c22"]
    assert await store.session("local", str(done.options.session_id)) is not None
    assert [event.seq for event in await store.events("local", "0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c21", 0)] == [1]
    assert await store.stage_result("local", "d" * 64, "a session") is None, "its blobs could not be told"
    photo = (await store.session("local", str(done.options.session_id))).photo  # type: ignore[union-attr]
    kept = [photo.sha256, *(stored.sha256 for stored in done.artifacts.values())]
    with old_home.reading() as connection:
        assert references.unreferred(connection, "local", [*kept, "f" * 64]) == ["f" * 64]
    ended = datetime(2026, 2, 4, 4, 5, 6, 789012, tzinfo=UTC)
    with old_home.reading() as connection:
        rows = connection.execute(metadata.tables["jobs"].select().order_by(text("number")))
        assert [(row.ended_at, row.created_at) for row in rows] == [
            (ended, ended - timedelta(days=1)),
            (None, ended - timedelta(days=1)),
        ]


async def test_release_0_1_can_read_what_was_made_since(old_home: Database) -> None:
    store = Store(old_home)
    await store.open()
    ((_, job),) = await store.list_jobs("local", 1, None)
    options = job.options.model_copy(update={"webhook_url": "https://example.com"})
    with old_home.writing() as connection:
        store.add_job(connection, replace(job, job_id="c-job", options=options))
    await run(old_home, schema.downgrade, "0001")
    query = text("SELECT number, body FROM jobs ORDER BY number")
    rows = (await run(old_home, lambda connection: connection.execute(query).all()))[1:]
    assert [number for number, _ in rows] == [2, 3]
    before, since = (json.loads(body) for _, body in rows)
    assert since["options"] == before["options"]


async def test_release_0_1_finds_its_own_again(old_home: Database) -> None:
    def rows(connection: Connection) -> Any:
        look = MetaData()
        look.reflect(connection)
        return {
            name: connection.execute(table.select().order_by(*table.primary_key)).mappings().all()
            for name, table in look.tables.items()
            if name not in ("alembic_version", "stage_results")  # what is kept for later is not kept for ever
        }

    before = await run(old_home, rows)
    await run(old_home, schema.upgrade)
    await run(old_home, schema.downgrade, "0001")
    assert await run(old_home, rows) == before
