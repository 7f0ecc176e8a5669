"""A service that loses its disk or its models says so, refuses with the reason, and works again once it is mended."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from lensora.core import blobs, models
from lensora.core.blobs import file_url
from lensora.core.errors import LensoraError, Unavailable
from lensora.core.models import Model
from lensora.detect.v1 import detect_pb2, detect_pb2_grpc
from lensora.runtime import server
from lensora.runtime.channels import open_channel, wait_serving
from lensora.runtime.errors import from_rpc
from lensora.runtime.fitness import Fitness
from lensora.runtime.runners import ThreadRunner
from lensora.runtime.server import Service
from lensora.runtime.settings import ServiceSettings
from lensora.type.v1 import blob_pb2

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
NAME = "lensora.detect.v1.DetectService"


class Running:
    """A service that runs, and what it says of its health."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = detect_pb2_grpc.DetectServiceStub(channel)
        health: Any = health_pb2_grpc.HealthStub(channel)
        self._watch = health.Watch(health_pb2.HealthCheckRequest(service=NAME))

    async def until(self, status: int) -> None:
        """Wait for this answer of the health watch."""
        async with asyncio.timeout(20):
            while (await self._watch.read()).status != status:
                pass

    async def works(self) -> None:
        """One call goes through."""
        request = detect_pb2.DetectObjectsRequest(image=blob_pb2.Blob(inline=json.dumps(["echo", "well"]).encode()))
        *_, last = [response async for response in self._stub.DetectObjects(request, timeout=20)]
        assert last.result.photo.inline == b"well"

    async def refuses(self) -> LensoraError:
        """One call does not."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.works()
        return from_rpc(raised.value)

    def hang_up(self) -> None:
        """Watch no more."""
        self._watch.cancel()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The blob folder, which the service makes."""
    return tmp_path / "blobs"


@pytest.fixture
async def service(toy_servicer: Any, free_port: int, folder: Path) -> AsyncIterator[Running]:
    settings = ServiceSettings(
        engine="scripted", listen=f"127.0.0.1:{free_port}", blob_prefix=file_url(folder) + "/", check_seconds=0.05
    )
    runner = ThreadRunner("toy", settings, "toy_engines")
    add = detect_pb2_grpc.add_DetectServiceServicer_to_server
    with capture_logs():
        serving = asyncio.create_task(server._serve(Service(NAME, add, toy_servicer, runner), settings))
        async with open_channel(settings.listen) as channel:
            await wait_serving(channel, 20)
            running = Running(channel)
            await running.until(SERVING)
            await running.works()
            yield running
            running.hang_up()
        os.kill(os.getpid(), signal.SIGTERM)
        await serving


def gone(folder: Path) -> None:
    folder.rename(folder.with_name("aside"))


def replaced_by_a_file(folder: Path) -> None:
    gone(folder)
    folder.write_text("no folder")


def back(folder: Path) -> None:
    folder.unlink(missing_ok=True)
    folder.with_name("aside").rename(folder)


@pytest.mark.parametrize(("lose", "says"), [(gone, "No such file"), (replaced_by_a_file, "Not a directory")])
async def test_a_lost_blob_folder(service: Running, folder: Path, lose: Callable[[Path], None], says: str) -> None:
    lose(folder)
    await service.until(NOT_SERVING)
    error = await service.refuses()
    assert (type(error), error.reason) == (Unavailable, "BLOB_FOLDER")
    assert str(folder) in error.message and says in error.message and "bring it back" in error.message
    back(folder)
    await service.works()  # at once, without waiting for the next look
    await service.until(SERVING)


def too_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "MIN_FREE_BYTES", 2**62)


def no_room_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)


@pytest.mark.parametrize("fill", [too_little_room, no_room_at_all])
async def test_a_full_disk(service: Running, folder: Path, fill: Callable[[pytest.MonkeyPatch], None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fill(patch)
        await service.until(NOT_SERVING)
        error = await service.refuses()
    assert error.reason == "BLOB_WRITE" and f"{folder} is full" in error.message and "make room" in error.message
    await service.until(SERVING)
    await service.works()


WEIGHTS = b"weights " * 100


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a model that this process has opened."""
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    tiny = Model("tiny", ("detect",), "none", "1", "", "tiny.bin", len(WEIGHTS), sha256, "CC0-1.0", "made here")
    monkeypatch.setattr(models, "MODELS", {"tiny": tiny})
    monkeypatch.setattr(models, "_opened", {})
    monkeypatch.setenv("LENSORA_MODELS", str(tmp_path))
    file = tmp_path / tiny.filename
    file.write_bytes(WEIGHTS)
    models.path("tiny")
    return file


def flip(file: Path) -> None:
    """One byte, in place; the clock that stamps files may tick too slowly for a test."""
    with file.open("r+b") as stream:
        stream.write(b"W")
    os.utime(file, ns=(0, 0))


def mend(file: Path) -> None:
    file.write_bytes(WEIGHTS)


@pytest.mark.parametrize(("damage", "reason"), [(flip, "MODEL_ALTERED"), (Path.unlink, "MODEL_MISSING")])
async def test_an_altered_model(model: Path, service: Running, damage: Callable[[Path], None], reason: str) -> None:
    damage(model)
    await service.until(NOT_SERVING)
    error = await service.refuses()
    assert error.reason == reason and str(model) in error.message and "lensora models fetch tiny" in error.message
    mend(model)
    await service.works()
    await service.until(SERVING)


def test_a_model_is_read_again_only_if_it_was_touched(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    matches = models._matches

    def counted(file: Path, entry: Model) -> bool:
        reads.append(file)
        return matches(file, entry)

    monkeypatch.setattr(models, "_matches", counted)
    models.check_opened()
    assert reads == []
    os.utime(model, ns=(0, 0))
    for _ in range(3):
        models.check_opened()
    assert reads == [model]


async def test_a_check_that_breaks_is_trouble_too_and_is_told_once() -> None:
    told: list[bool] = []
    broken = True

    def check() -> None:
        if broken:
            raise OSError(errno.EIO, "the disk is dying")

    async def tell(fit: bool) -> None:  # noqa: FBT001
        told.append(fit)

    fitness = Fitness(check, tell, 60)
    with capture_logs() as lines:
        await fitness.look()
        for _ in range(2):
            with pytest.raises(Unavailable, match="the disk is dying"):
                await fitness.require()
        broken = False
        await fitness.require()
    assert told == [False, True]
    assert [line["event"] for line in lines] == ["unfit", "fit again"]
