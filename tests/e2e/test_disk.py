"""The disk fills up under the running system: jobs fail and cost nothing, callers are told, all works again after."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lensora.client import AsyncJob, AsyncStudio, Output
from lensora.core.errors import ResourceExhausted, Unavailable
from tests.e2e.conftest import PHOTOS, System, start, stop
from tests.e2e.test_failures import ended, until

SECONDS = 60.0
_MOUNT = 'mount -t tmpfs -o size=128m lensora "$0" && exec "$@"'


def small_disk(folder: Path) -> list[str]:
    """A command that runs another where ``folder`` is a disk of 128 MiB, which nobody else sees."""
    for user in ([], ["--user", "--map-root-user"]):
        command = ["unshare", *user, "--mount", "sh", "-c", _MOUNT, str(folder)]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("this kernel lets us mount nothing, not even in a namespace of our own (see unshare(1))")


class SmallSystem:
    """The six processes, with database, blobs and logs on a small disk."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._http = f"127.0.0.1:{free.getsockname()[1]}"
        self.system: System = start(home, small_disk(home), self._http)
        self.home = Path(f"/proc/{self.system.process.pid}/root{home}")

    def leave(self, free: int) -> None:
        """Let somebody else's file take all but so many bytes, and what is written meanwhile."""
        with (self.home / f"all but {free}").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while self._free() > free:
                file.write(bytes(4096))

    def leave_again(self, free: int) -> None:
        """Remove what ``leave`` wrote."""
        (self.home / f"all but {free}").unlink()

    def _free(self) -> int:
        room = os.statvfs(self.home)
        return room.f_bavail * room.f_frsize

    async def get(self, path: str) -> dict[str, Any]:
        """A JSON answer of the HTTP edge."""
        async with httpx.AsyncClient(base_url=f"http://{self._http}", trust_env=False, timeout=SECONDS) as client:
            value: dict[str, Any] = (await client.get(path)).json()
        return value

    async def unwell(self, names: list[str]) -> None:
        """Wait until readiness says that these are not well, and all else is."""

        async def found() -> list[str]:
            return [name for name, well in (await self.get("/readyz"))["checks"].items() if not well]

        async with asyncio.timeout(SECONDS):
            while await found() != names:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.5)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallSystem]:
    running = SmallSystem(tmp_path / "home")
    yield running
    stop(running.system)


@pytest.fixture
async def studio(small: SmallSystem) -> AsyncIterator[AsyncStudio]:
    async with AsyncStudio("", f"grpc://{small.system.address}", patience=0) as client:
        yield client


LITTLE = 16 * 1024 * 1024
WRITERS = ["blobs", "detect", "segment", "background", "mesh3d", "render"]


async def test_a_full_disk_fails_jobs_refunded_and_all_works_once_there_is_room(
    small: SmallSystem, studio: AsyncStudio, tmp_path: Path
) -> None:
    photo = PHOTOS["air-balloon"]
    await small.unwell([])
    session = await studio.init(photo)

    async def order() -> AsyncJob:
        return await session.transform(background="transparent", camera="turntable", output=Output(256, 256, 2))

    before = await small.get("/v1/credits")
    running = await order()
    await until(running, "removing-bg")
    small.leave(LITTLE)
    small.leave(0)  # nothing can be written any more, not even that the job failed
    await small.unwell(WRITERS)
    with pytest.raises(Unavailable) as down:
        await order()
    assert down.value.reason == "DATABASE_DOWN"
    with pytest.raises(ResourceExhausted) as full:
        await studio.init(photo)
    assert full.value.reason == "BLOB_WRITE"

    small.leave_again(0)  # enough for the database, too little for a film
    for job in (running, await order()):
        failed = await ended(job)
        assert failed.status == "failed" and failed.error is not None and failed.error.code == "BLOB_WRITE", failed
        assert "is full" in failed.error.message and "make room" in failed.error.message
        assert failed.credits_refunded == failed.credits_used == 75
        assert failed.outputs == {}
    with pytest.raises(ResourceExhausted) as full:
        await studio.init(PHOTOS["astronaut"])
    assert full.value.reason == "BLOB_WRITE" and "make room" in full.value.message
    await small.unwell(WRITERS)
    now = await small.get("/v1/credits")
    assert (now["balance"], now["held"]) == (before["balance"], 0)

    small.leave_again(LITTLE)
    await small.unwell([])
    job = await order()
    made = await job.result()
    for kind in made.outputs:
        await job.download(kind, tmp_path / kind)  # whole and checked
    assert list((small.home / "blobs/.staging").iterdir()) == [], "nothing half written is left"
    assert (await small.get("/v1/credits"))["balance"] == before["balance"] - 75
