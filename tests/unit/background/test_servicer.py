"""The edge of the service: how each kind of backdrop reaches the engine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np
import pytest

from lensora.background.v1 import background_pb2
from lensora.core.blobs import BlobAccess, file_url
from lensora.core.errors import InvalidArgument
from lensora.core.scene import Camera, Ground, KeyLight, Scene
from lensora.runtime.runners import EngineId, Progress
from lensora.runtime.stage import Stage
from lensora.type.v1 import blob_pb2, geometry_pb2
from services.background.core.fetch import Fetcher
from services.background.engine import PictureBackdrop, PromptBackdrop, SceneRequest, SceneResult, StudioBackdrop
from services.background.servicer import BackgroundServicer

SCENE = Scene(
    "picture",
    np.zeros((16, 16, 3), np.uint8),
    np.ones((4, 8, 3), np.float32),
    KeyLight((0.0, 1.0, 0.0), (1.0, 1.0, 1.0), 3.0),
    Ground((0.5, 0.5, 0.5), 0.9),
    Camera((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 28.0),
    0.3,
    0.3,
    1.0,
)


class Recorder:
    """A runner that keeps what it is given."""

    engine = EngineId("background", "recorder", "1")

    def __init__(self) -> None:
        self.requests: list[SceneRequest] = []

    async def start(self) -> None:
        """Nothing to load."""

    async def run(self, request: SceneRequest, _: Progress, __: float | None) -> SceneResult:
        """Keep it."""
        self.requests.append(request)
        return SceneResult(SCENE, True, "note")

    def check(self) -> None:
        """Nothing to lose."""

    async def stop(self) -> None:
        """Nothing to free."""


class FakeFetcher(Fetcher):
    """Has fetched already."""

    async def fetch(self, url: str) -> bytes:
        """What it was asked for."""
        if url.endswith("bad"):
            raise InvalidArgument.of("background.url", "no", reason="URL_STATUS")
        return url.encode()


class Call:
    """As much of a gRPC context as is looked at."""

    def time_remaining(self) -> None:
        """No deadline."""


async def built(tmp_path: Path, backdrop: background_pb2.Backdrop) -> tuple[list[Any], list[SceneRequest]]:
    """The responses, and what the engine got."""
    runner = Recorder()
    servicer = BackgroundServicer(Stage(runner, BlobAccess(file_url(tmp_path) + "/")), FakeFetcher())
    size = geometry_pb2.Size(width=256, height=256)
    request = background_pb2.BuildSceneRequest(backdrop=backdrop, size=size, seed=3)
    context = cast("grpc.aio.ServicerContext[Any, Any]", Call())
    responses = [response async for response in servicer.BuildScene(request, context)]
    return responses, runner.requests


async def test_each_kind_reaches_the_engine(tmp_path: Path) -> None:
    data = b"x" * 300_000  # too large to travel inline
    file = tmp_path / "picture"
    file.write_bytes(data)
    blob = blob_pb2.Blob(url=file_url(file), size=len(data), sha256=hashlib.sha256(data).hexdigest())
    link = "https://photos.example/a.jpg"
    for backdrop, expected in (
        (background_pb2.Backdrop(studio=background_pb2.StudioBackdrop()), StudioBackdrop()),
        (background_pb2.Backdrop(prompt="sand"), PromptBackdrop("sand")),
        (background_pb2.Backdrop(picture=blob), PictureBackdrop(data, "background.picture", "your own picture")),
        (
            background_pb2.Backdrop(url=link),
            PictureBackdrop(link.encode(), "background.url", "the picture linked at photos.example"),
        ),
    ):
        responses, requests = await built(tmp_path, backdrop)
        assert requests == [SceneRequest(expected, 256, 256, 3)]
        assert responses[-1].result.note == "note"


async def test_what_cannot_be_fetched_never_reaches_the_engine(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await built(tmp_path, background_pb2.Backdrop(url="https://photos.example/bad"))
    assert caught.value.reason == "URL_STATUS"


async def test_a_backdrop_is_required(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="studio, prompt, url or picture"):
        await built(tmp_path, background_pb2.Backdrop())
