"""The five services and the gateway as strangers meet them, and what every answer to a stranger must be."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from gateway.blobs import open_store
from lensora.background.v1 import background_pb2_grpc
from lensora.core.blobs import BlobAccess
from lensora.core.errors import InvalidArgument, LensoraError
from lensora.core.scene import Scene
from lensora.detect.v1 import detect_pb2_grpc
from lensora.mesh3d.v1 import mesh3d_pb2_grpc
from lensora.render.v1 import render_pb2_grpc
from lensora.runtime.channels import open_channel
from lensora.runtime.errors import from_rpc
from lensora.runtime.runners import ThreadRunner
from lensora.runtime.server import Listener
from lensora.runtime.stage import Stage
from lensora.segment.v1 import segment_pb2_grpc
from services.background.core.build import build_scene
from services.background.core.fetch import Fetcher
from services.background.core.sentences import MiniLm
from services.background.engines import embedded as background_engine
from services.background.servicer import BackgroundServicer
from services.detect.servicer import DetectServicer
from services.mesh3d.engines import embedded as mesh3d_engine
from services.mesh3d.servicer import Mesh3dServicer
from services.render.core.film import Planes
from services.render.core.stage import Stage as Drawing
from services.render.engines import embedded as render_engine
from services.render.servicer import RenderServicer
from services.segment.servicer import SegmentServicer
from tests.weight import weighing

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
"""Cases a test; 0 for the few, always the same, of an ordinary test run."""

STORE = open_store("", Path(tempfile.mkdtemp(prefix="lensora-fuzz-")), 60.0)
"""What the services read from and write to."""

PATIENCE = 300.0
"""No answer takes longer, seconds."""

MOST_MEMORY = 1000.0
"""No one case takes more on top of what the process holds, megabytes: its workers have but two gigabytes."""

REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
}
"""What a caller's own fault, or wish, may be answered with."""


def fuzz(few: int) -> settings:
    """How many cases: ``few`` in an ordinary test run, always the same ones."""
    return settings(
        max_examples=EXAMPLES or few,
        derandomize=not EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(slots=True)
class Tally:
    """What one test's cases were answered with."""

    seconds: float = 0.0
    grown: float = 0.0
    """The most memory that one case took on top of what the process held, megabytes."""
    peak: float = 0.0
    """The most memory that the process held, megabytes."""
    answers: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.answers.most_common())
        return (
            f"{self.answers.total():,} cases in {self.seconds:.0f} s, {self.peak:.0f} MB (+{self.grown:.0f}): {reasons}"
        )


TALLIES: defaultdict[str, Tally] = defaultdict(Tally)


@dataclass(slots=True)
class Caller:
    """A stranger with a connection."""

    runner: asyncio.Runner
    channel: grpc.aio.Channel

    def ask(self, name: str, call: Callable[[], Any]) -> str:
        """Make one call, which must be answered in time with a result, or with a refusal that helps its reader.

        Args:
            name: of the test, for the tally.
            call: starts it, in the event loop.

        Returns:
            The refusal's reason, or ``OK``.
        """
        began = time.monotonic()
        with weighing() as weight:
            answer = self.runner.run(self._answer(call))
        tally = TALLIES[name]
        tally.answers[answer] += 1
        tally.seconds += time.monotonic() - began
        tally.grown, tally.peak = max(tally.grown, weight.grown), max(tally.peak, weight.peak)
        assert weight.grown < MOST_MEMORY, f"one case took {weight.grown:.0f} MB"
        return answer

    async def _answer(self, call: Callable[[], Any]) -> str:
        started = call()
        try:
            if isinstance(started, grpc.aio.UnaryStreamCall):
                async for _ in started:
                    pass
            else:
                await started
        except grpc.aio.AioRpcError as error:
            assert error.code() in REFUSALS, (error.code(), error.details())
            return check_refusal(from_rpc(error))
        return "OK"


def check_refusal(error: LensoraError) -> str:
    """The reason of a refusal: stable, with a sentence, and with the field where the argument is wrong."""
    assert error.reason not in ("INTERNAL", "INPUT_CRASHES_STAGE", ""), (error.reason, error.message)
    assert len(error.message) > 12, error.message
    assert error.message.replace("\n", "").isprintable(), error.message
    if isinstance(error, InvalidArgument):
        assert error.violations, error.message
        assert all(violation.field and violation.description for violation in error.violations), error.violations
    return error.reason


class Looks:
    """A network that looks at brightness only: what the real ones would say is not what is fuzzed."""

    def __init__(self, *_: object) -> None:
        """Made like any of them."""

    def map(self, photo: NDArray[np.uint8], _: object) -> NDArray[np.float32]:
        """As ``Saliency``: bright is subject."""
        return np.asarray(cv2.resize(photo, (64, 64)).mean(axis=2) / 255, np.float32)

    def find(self, *_: object) -> tuple[()]:
        """As ``Detector``: nothing known."""
        return ()

    def probabilities(self, _: object, boxes: Sequence[object], __: object) -> NDArray[np.float32]:
        """As ``Classifier``: no idea."""
        return np.full((len(boxes), 1000), 0.001, np.float32)


class Sparing:
    """Makes the first few for real; after that hands out the last of them, or what a stand-in makes."""

    def __init__(self, make: Callable[..., Any], few: int, stand_in: Callable[..., Any] | None = None) -> None:
        self._make, self._left = make, max(few, EXAMPLES // 100)
        self._stand_in = stand_in or (lambda *_, **__: self._last)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Make it."""
        self._left -= 1
        if self._left < 0:
            return self._stand_in(*arguments, **options)
        self._last = self._make(*arguments, **options)
        return self._last


class GreyFilm:
    """A renderer's stage that draws nothing."""

    def __init__(self, *arguments: Any, alpha: bool) -> None:
        height, width = next(given for given in arguments if isinstance(given, Scene)).plate.shape[:2]
        half = (height // 2, width // 2)
        grey = Planes(*(np.full(size, 128, np.uint8) for size in ((height, width), half, half)))
        clear = Planes(grey.luma, grey.blue_difference, grey.red_difference, grey.luma)
        self._frame = (grey, clear) if alpha else (grey,)

    def draw(self, _: int) -> tuple[Planes, ...]:
        """A grey frame."""
        return self._frame


async def _public(_host: str, _port: int) -> list[str]:
    return ["93.184.215.14"]


async def _nobody(_address: str, _port: int, _host: str) -> Any:
    raise ConnectionRefusedError


@contextlib.asynccontextmanager
async def all_stages(scene: Scene) -> AsyncIterator[grpc.aio.Channel]:
    """The five servicers on one server, behind the real border.

    Their engines are the real ones, but for the networks of detect and segment, and for what is costly and tells a
    stranger nothing: most scenes are ``scene``, most prompts are read but not thought about, most solids are the last
    that was made, most films are grey, and films have two frames a second.
    """
    with pytest.MonkeyPatch.context() as patch:
        for network in ("detect.engines.embedded.Saliency", "segment.engines.embedded.Saliency",
                        "detect.engines.embedded.Detector", "detect.engines.embedded.Classifier"):  # fmt: skip
            patch.setattr(f"services.{network}", Looks)
        patch.setattr(background_engine, "build_scene", Sparing(build_scene, 2, lambda *_: scene))
        for step in ("_model_box", "_model_solid", "judge"):
            patch.setattr(mesh3d_engine, step, Sparing(getattr(mesh3d_engine, step), 2))
        patch.setattr(render_engine, "Stage", Sparing(Drawing, 3, GreyFilm))
        patch.setattr(render_engine, "FRAMES_PER_SECOND", 2)
        listener, runners = Listener("127.0.0.1:0", []), []
        for name, add, servicer in _SERVICERS:
            # one at a time: the renderer's OpenGL context belongs to the thread that made it
            settings = importlib.import_module(f"services.{name}.settings").Settings(max_concurrency=1)
            runner = ThreadRunner(name, settings)
            await runner.start()
            add(servicer(Stage(runner, BlobAccess(STORE.prefix))), listener.server)
            runners.append(runner)
        layer = Sparing(MiniLm._layer, 6 * max(20, EXAMPLES // 50), lambda _, states, __: states)
        patch.setattr(MiniLm, "_layer", lambda *given: layer(*given))  # only now: the scenes' own phrases are at home
        await listener.server.start()
        async with open_channel(listener.address) as channel:
            yield channel
        await listener.server.stop(0)
        for runner in runners:
            await runner.stop()


_SERVICERS: tuple[tuple[str, Callable[..., None], Callable[[Stage], Any]], ...] = (
    ("detect", detect_pb2_grpc.add_DetectServiceServicer_to_server, DetectServicer),
    ("segment", segment_pb2_grpc.add_SegmentServiceServicer_to_server, SegmentServicer),
    (
        "background",
        background_pb2_grpc.add_BackgroundServiceServicer_to_server,
        lambda stage: BackgroundServicer(stage, Fetcher(_public, _nobody)),
    ),
    ("mesh3d", mesh3d_pb2_grpc.add_Mesh3dServiceServicer_to_server, Mesh3dServicer),
    ("render", render_pb2_grpc.add_RenderServiceServicer_to_server, RenderServicer),
)
