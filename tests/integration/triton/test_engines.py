"""The engines whose networks run in Triton: the same answers, named after who made them; and what if it is down."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from lensora.core import engines
from lensora.core.blobs import file_url, sha256_hex
from lensora.core.engines import Made, NullContext
from lensora.core.errors import Cancelled, FailedPrecondition, Unavailable
from lensora.core.geometry import Box
from lensora.core.imaging import decode_png, encode_png
from lensora.detect.v1 import detect_pb2, detect_pb2_grpc
from lensora.runtime import loops
from lensora.runtime.channels import open_channel, wait_serving
from lensora.runtime.errors import from_rpc
from lensora.runtime.hosted import Hosted, Remote, connect
from lensora.runtime.settings import TritonSettings
from lensora.runtime.stage import NOTICE
from lensora.segment.v1 import segment_pb2, segment_pb2_grpc
from lensora.type.v1 import blob_pb2, geometry_pb2
from services.detect.engine import DetectRequest
from services.detect.settings import Settings as DetectSettings
from services.segment.engine import SegmentRequest
from services.segment.settings import Settings as SegmentSettings

PHOTO = Path(__file__).parents[3] / ".cache/photos/air-balloon.png"
STATUS = health_pb2.HealthCheckResponse


@pytest.fixture
def serve(tmp_path: Path, free_port: int) -> Callable[..., Any]:
    """Runs a service in a process of its own, its engine ``triton``."""

    @contextlib.asynccontextmanager
    async def serve(name: str, triton_address: str, **more: str) -> AsyncIterator[grpc.aio.Channel]:
        address = f"127.0.0.1:{free_port}"
        own = {"LISTEN": address, "ENGINE": "triton", "TRITON_ADDRESS": triton_address, "TRITON_RETRY_SECONDS": "0"}
        own |= {"BLOB_PREFIX": file_url(tmp_path / "blobs") + "/", "CHECK_SECONDS": "0.2", **more}
        environment = {**os.environ, **{f"{name.upper()}_{key}": value for key, value in own.items()}}
        with (tmp_path / "service.log").open("w") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"services.{name}",
                env=environment, stdout=log, stderr=log, cwd=Path(__file__).parents[3],
            )  # fmt: skip
        try:
            async with open_channel(address) as channel:
                yield channel
        finally:
            process.terminate()
            assert await process.wait() == 0

    return serve


def target(folder: Path, name: str) -> blob_pb2.BlobTarget:
    return blob_pb2.BlobTarget(url=file_url(folder / "blobs") + "/" + name)


def content(blob: blob_pb2.Blob, folder: Path) -> bytes:
    return blob.inline or (folder / "blobs" / blob.url.rpartition("/")[2]).read_bytes()


async def detected(channel: grpc.aio.Channel, folder: Path) -> tuple[Any, str]:
    """The result of one call, and its notice."""
    stub: Any = detect_pb2_grpc.DetectServiceStub(channel)
    data = PHOTO.read_bytes()
    (folder / "blobs").mkdir(exist_ok=True)
    (folder / "blobs" / "upload").write_bytes(data)
    url = file_url(folder / "blobs") + "/upload"
    request = detect_pb2.DetectObjectsRequest(
        image=blob_pb2.Blob(url=url, size=len(data), sha256=sha256_hex(data)),
        photo_target=target(folder, "photo"),
    )
    call = stub.DetectObjects(request, timeout=120)
    *_, last = [response async for response in call]
    return last.result, dict(await call.trailing_metadata()).get(NOTICE, "")


async def test_detect_answers_the_same(serve: Any, triton: Any, tmp_path: Path) -> None:
    async with serve("detect", triton.address) as channel:
        await wait_serving(channel, 60)
        result, notice = await detected(channel, tmp_path)
    engine = engines.load("services.detect.engines", "embedded", DetectSettings())
    expected = await asyncio.to_thread(engine.run, DetectRequest(PHOTO.read_bytes()), NullContext())
    assert np.array_equal(decode_png(content(result.photo, tmp_path), "photo", channels=3), expected.photo)
    found = [
        (one.label, one.category, (one.bbox.x1, one.bbox.y1, one.bbox.x2, one.bbox.y2), one.score)
        for one in result.proposals
    ]
    assert found == [
        (one.label, one.category, (one.box.x1, one.box.y1, one.box.x2, one.box.y2), one.score)
        for one in expected.proposals
    ]
    assert len(found) > 1
    assert (result.engine.fingerprint, notice) == (f"detect/triton@{engine.version}-1.1.1", "")


def ball() -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).normal(0, 40, (300, 400, 3)).astype(np.float32)
    photo = np.clip(150 + cv2.GaussianBlur(noise, (0, 0), 3), 0, 255).astype(np.uint8)
    cv2.circle(photo, (200, 150), 80, (200, 40, 30), -1, cv2.LINE_AA)
    return photo


async def test_segment_answers_the_same(serve: Any, triton: Any, tmp_path: Path) -> None:
    box = geometry_pb2.Box(x1=0.3, y1=0.2, x2=0.7, y2=0.8)
    async with serve("segment", triton.address) as channel:
        await wait_serving(channel, 60)
        stub: Any = segment_pb2_grpc.SegmentServiceStub(channel)
        request = segment_pb2.SegmentRequest(
            photo=blob_pb2.Blob(inline=encode_png(ball())), box=box, cutout_target=target(tmp_path, "cutout")
        )
        *_, last = [response async for response in stub.Segment(request, timeout=120)]
    engine = engines.load("services.segment.engines", "embedded", SegmentSettings())
    wanted = SegmentRequest(ball(), Box(0.3, 0.2, 0.7, 0.8))
    expected = await asyncio.to_thread(engine.run, wanted, NullContext())
    cutout = decode_png(content(last.result.cutout, tmp_path), "cutout", channels=4)
    assert np.array_equal(cutout, expected.cutout) and (cutout[..., 3] == 255).any()
    assert last.result.engine.fingerprint == f"segment/triton@{engine.version}-1"


async def test_without_triton_the_service_is_unfit_and_says_why(serve: Any, tmp_path: Path) -> None:
    async with serve("detect", "127.0.0.1:1") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=60, wait_for_ready=True)
        assert answer.status == STATUS.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await detected(channel, tmp_path)
        error = from_rpc(refused.value)
        assert (type(error), error.reason) == (Unavailable, "TRITON_DOWN") and "127.0.0.1:1" in error.message


async def test_a_fallback_is_declared_and_never_silent(serve: Any, tmp_path: Path) -> None:
    async with serve("detect", "127.0.0.1:1", TRITON_FALLBACK="true") as channel:
        await wait_serving(channel, 60)
        result, notice = await detected(channel, tmp_path)
    version = engines.load("services.detect.engines", "embedded", DetectSettings()).version
    fingerprint = f"detect/embedded@{version}"
    assert result.engine.fingerprint == fingerprint
    assert notice == f"fallback; reason=TRITON_DOWN; by={fingerprint}"
    events = [json.loads(line) for line in (tmp_path / "service.log").read_text().splitlines() if line[0] == "{"]
    (told,) = (event for event in events if event["event"] == "fallback")
    assert (told["level"], told["engine"], told["by"], told["reason"]) == (
        "warning", "triton", "embedded", "TRITON_DOWN",
    )  # fmt: skip


def test_a_matte_that_triton_does_not_have_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="SEGMENT_MATTE=isnet"):
        engines.load("services.segment.engines", "triton", SegmentSettings(matte="isnet"))


class Asks:
    """A pipeline of one network, asked twice."""

    name, version = "asks", "7"

    def __init__(self, network: Remote) -> None:
        self._network = network

    def run(self, request: NDArray[Any], context: engines.Context) -> list[str]:
        """The versions that answered."""
        return [self._network(request + step, context)[0, 0].decode() for step in range(2)]


async def in_thread(work: Callable[[], Any]) -> Any:
    """Run as an engine does: in a thread that was lent this loop."""
    loop = asyncio.get_running_loop()

    def lent() -> Any:
        loops.lend(loop)
        return work()

    return await asyncio.to_thread(lent)


async def test_a_canary_gets_its_share_and_no_run_mixes_versions(triton: Any) -> None:
    settings = TritonSettings(triton_address=triton.address, triton_versions={"versioned": {"1": 90, "2": 10}})

    def work() -> tuple[str, list[Made[Any]]]:
        network = connect(settings)("versioned", "x", "version")
        engine = Hosted(Asks(network), (network,), None)
        runs = [engine.run(np.full((1, 1), number, np.float32), NullContext()) for number in range(200)]
        return engine.version, runs

    version, runs = await in_thread(work)
    assert version == "7-1"
    assert all(run.result == [run.version[-1]] * 2 and run.name == "triton" for run in runs)
    assert 5 <= sum(run.version == "7-2" for run in runs) <= 40


@pytest.mark.parametrize(("versions", "answers"), [({}, "2"), ({"versioned": "1"}, "1")])
async def test_a_pinned_version_and_the_policys(triton: Any, versions: dict[str, Any], answers: str) -> None:
    settings = TritonSettings(triton_address=triton.address, triton_versions=versions)

    def work() -> tuple[str, Made[Any]]:
        network = connect(settings)("versioned", "x", "version")
        engine = Hosted(Asks(network), (network,), None)
        engine.check()
        return engine.version, engine.run(np.zeros((1, 1), np.float32), NullContext())

    advertised, made = await in_thread(work)
    assert advertised == made.version == f"7-{answers}"
    assert made.result == [answers] * 2


@pytest.mark.parametrize("wanted", ["3", {"1": 90, "3": 10}])
async def test_a_version_that_is_not_loaded_makes_the_service_unfit(triton: Any, wanted: Any) -> None:
    settings = TritonSettings(triton_address=triton.address, triton_versions={"versioned": wanted})

    def work(spare: Any) -> None:
        network = connect(settings)("versioned", "x", "version")
        Hosted(Asks(network), (network,), spare).check()

    with pytest.raises(Unavailable, match="versioned, or not in version") as caught:
        await in_thread(lambda: work(None))
    assert caught.value.reason == "MODEL_NOT_LOADED"
    await in_thread(lambda: work(object()))  # somebody stands in


async def test_an_engines_cancel_ends_the_call_at_once(triton: Any) -> None:
    class Gone(NullContext):
        def check(self) -> None:
            raise Cancelled("gone")

    def work() -> None:
        network = connect(TritonSettings(triton_address=triton.address))("echo", "x", "y")
        network(np.full((1, 40), -1.0, np.float32), Gone())

    with pytest.raises(Cancelled):
        await in_thread(work)
