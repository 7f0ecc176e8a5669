"""A session is forgotten at the moment in which another begins to use what it had made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from gateway.blobs import open_store
from gateway.model import DetectedObject, Session, StoredBlob
from gateway.retention import Retention
from gateway.settings import Settings
from gateway.store import Database, Store
from gateway.store.tables import stage_results
from lensora.core.geometry import FULL_FRAME
from tests.postgres import Postgres

DIGEST = "d" * 64
NOW = datetime.now(UTC)
WHOLE = DetectedObject(0, "all", "full_frame", FULL_FRAME, 1.0)


@pytest.fixture
async def database(postgres: Postgres, postgres_template: str) -> AsyncIterator[Database]:
    """Postgres, because SQLite has one writer at a time."""
    made = Database(postgres.new_database(postgres_template))
    yield made
    made.close()


async def test_what_another_session_has_just_begun_to_use_stays(database: Database, tmp_path: Path) -> None:
    store = Store(database)
    retention = Retention(Settings(home=tmp_path), store, open_store("", tmp_path, 60))
    photo = StoredBlob("a" * 64, 1, "image/png")
    first = Session("first", "somebody", photo, 64, 64, (WHOLE,), 1, NOW, NOW + timedelta(hours=1))
    with database.writing() as connection:
        store.add_session(connection, first)
    await store.keep_stage_result("somebody", DIGEST, "x/y@1", b"result", {"b" * 64: 1}, "first", "pin")
    with database.writing() as connection:  # as ``Store.stage_result`` does, but slowly
        mine = (stage_results.c.account_id == "somebody", stage_results.c.digest == DIGEST)
        connection.execute(update(stage_results).where(*mine).values(used_at=datetime.now(UTC)))
        store._use(connection, "somebody", DIGEST, "second")
        forgetting = asyncio.create_task(retention.forget("somebody", "first"))
        await asyncio.sleep(0.5)
        assert not forgetting.done()
    await forgetting
    assert await store.stage_result("somebody", DIGEST, "second") == b"result"
