"""Writers and sweepers at the same time, on both kinds of store: nobody ever misses what it was just told is there."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.blobs import open_store
from gateway.retention import Retention
from gateway.settings import Settings
from gateway.store import Database, Store, references
from lensora.core.blobs import sha256_hex
from tests import s3
from tests.postgres import running_postgres

WRITERS, SWEEPERS, ROUNDS, CONTENTS = 6, 2, 12, 3


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty one."""
    if request.param == "sqlite":
        yield Database(f"sqlite:///{tmp_path / 'studio.db'}")
    else:
        with running_postgres() as server:
            yield Database(server.new_database())


@pytest.mark.parametrize("kind", ["folder", "s3"])
async def test_the_sweep_never_takes_what_was_just_written(
    kind: str, database: Database, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = ""
    if kind == "s3":
        for name, value in s3.environment(request.getfixturevalue("s3_server")).items():
            monkeypatch.setenv(name, value)
        url = f"s3://lensora/{uuid.uuid4()}"
    blobs = open_store(url, tmp_path / "blobs", 60.0)
    store = Store(database)
    await store.open()
    retention = Retention(Settings(home=tmp_path), store, blobs)
    removed = 0
    remove = blobs.remove

    def counted(account: str, digests: list[str]) -> None:
        nonlocal removed
        removed += len(digests)
        time.sleep(0.02)  # for somebody to come between the look and the removal, if they could
        remove(account, digests)

    monkeypatch.setattr(blobs, "remove", counted)

    async def write(seed: int) -> None:
        """Pin, write, refer, look, forget: of few contents, so that all get in each other's way."""
        chance = random.Random(seed)  # noqa: S311 - not to hide anything
        for number in range(ROUNDS):
            data = b"content %d" % chance.randrange(CONTENTS)
            sha256, digest, pin = sha256_hex(data), sha256_hex(b"%d of %d" % (number, seed)), uuid.uuid4().hex
            await store.pin("local", pin, [sha256])
            await blobs.run(blobs.put, "local", data)
            await store.keep_stage_result("local", digest, "toy@1", b"", {sha256: len(data)}, "nobody's", pin)
            for _ in range(3):
                assert await blobs.run(blobs.exists, "local", sha256)
                await asyncio.sleep(0)
            with store.database.writing() as connection:
                references.release(connection, "local", references.of_result(digest))

    async def sweep(done: asyncio.Event) -> None:
        while not done.is_set():
            await retention.sweep()

    done = asyncio.Event()
    try:
        sweeping = [asyncio.create_task(sweep(done)) for _ in range(SWEEPERS)]
        await asyncio.gather(*(write(seed) for seed in range(WRITERS)))
        done.set()
        await asyncio.gather(*sweeping)
        assert removed > 0, "they met"
        await retention.sweep()
        assert list(blobs.listed()) == []
    finally:
        store.database.close()
