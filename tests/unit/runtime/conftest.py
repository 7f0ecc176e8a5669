"""A toy service on real gRPC: the detect proto, engines that do as they are told."""

from __future__ import annotations

import contextlib
import importlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.blobs import BlobStore, open_store
from lensora.core.blobs import BlobAccess
from lensora.detect.v1 import detect_pb2, detect_pb2_grpc
from lensora.runtime.channels import open_channel
from lensora.runtime.interceptors import Border
from lensora.runtime.runners import Runner, ThreadRunner
from lensora.runtime.settings import ServiceSettings
from lensora.runtime.stage import Stage
from lensora.type.v1 import engine_pb2

PACKAGE = "toy_engines"


@pytest.fixture(scope="session", autouse=True)
def toy_engines() -> Iterator[None]:
    """Make the package importable, here and in the worker processes, which take over the path.

    They would also import pytest again, as their ``__main__``, which takes longer than the rest of their start.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        main = sys.modules["__main__"]
        patch.setattr(main, "__spec__", None)
        patch.delattr(main, "__file__", raising=False)
        yield


@pytest.fixture
def events() -> Any:
    """The events that scripted engines of this process wait for and set."""
    shared = importlib.import_module("toy_engines.scripted").events
    shared.clear()
    return shared


class ToyServicer(detect_pb2_grpc.DetectServiceServicer):
    """Hands the engine the JSON it is sent, and the engine's words back."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def DetectObjects(  # noqa: N802 - as the proto has it
        self, request: detect_pb2.DetectObjectsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[detect_pb2.DetectObjectsResponse]:
        def decode() -> Any:
            return json.loads(self._stage.read(request.image, "image"))

        def encode(result: Any, engine: engine_pb2.EngineInfo) -> detect_pb2.DetectObjectsResult:
            photo = self._stage.write(str(result).encode(), "text/plain", request.photo_target, "photo_target")
            return detect_pb2.DetectObjectsResult(photo=photo, engine=engine)

        async for response in self._stage.stream(context, detect_pb2.DetectObjectsResponse, decode, encode):
            yield response


@pytest.fixture
def toy_servicer() -> type[ToyServicer]:
    """The class, for tests that serve it themselves."""
    return ToyServicer


@dataclass(frozen=True, slots=True)
class Toy:
    """A running toy service."""

    stub: Any
    stage: Stage
    store: BlobStore
    border: Border
    address: str


Serving = Callable[..., AbstractAsyncContextManager[Toy]]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """Serves the toy on a free port for as long as the block lasts."""

    @contextlib.asynccontextmanager
    async def serve(runner: Runner | None = None) -> AsyncIterator[Toy]:
        store = open_store("", tmp_path / "blobs", 60.0)
        runner = runner or ThreadRunner("toy", ServiceSettings(engine="scripted"), PACKAGE)
        await runner.start()
        border = Border()
        server = grpc.aio.server(interceptors=[border])
        stage = Stage(runner, BlobAccess(store.prefix))
        detect_pb2_grpc.add_DetectServiceServicer_to_server(ToyServicer(stage), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = open_channel(f"127.0.0.1:{port}")
        try:
            yield Toy(detect_pb2_grpc.DetectServiceStub(channel), stage, store, border, f"127.0.0.1:{port}")
        finally:
            await channel.close()
            await server.stop(0)
            await runner.stop()

    return serve


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
