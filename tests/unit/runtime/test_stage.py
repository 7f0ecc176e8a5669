"""A stage's stream over real gRPC: progress, then exactly one result, last; and blobs in and out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from structlog.testing import capture_logs

from lensora.core.blobs import INLINE_LIMIT, file_url, sha256_hex
from lensora.core.errors import DeadlineExceeded, InvalidArgument, LensoraError, ResourceExhausted
from lensora.detect.v1 import detect_pb2
from lensora.runtime import stage
from lensora.runtime.errors import from_rpc
from lensora.runtime.settings import ServiceSettings
from lensora.runtime.worker import ProcessRunner, WorkerSettings
from lensora.type.v1 import blob_pb2

Script = Callable[..., detect_pb2.DetectObjectsRequest]


@pytest.fixture
def script() -> Script:
    """Makes a request that has the toy engine do this."""

    def make(*action: Any, target: str = "", max_bytes: int = 0) -> detect_pb2.DetectObjectsRequest:
        return detect_pb2.DetectObjectsRequest(
            image=blob_pb2.Blob(inline=json.dumps(action).encode()),
            photo_target=blob_pb2.BlobTarget(url=target, max_bytes=max_bytes),
        )

    return make


async def collect(toy: Any, request: Any, seconds: float | None = 10) -> list[Any]:
    return [response async for response in toy.stub.DetectObjects(request, timeout=seconds)]


async def refused(toy: Any, request: Any, seconds: float | None = 10) -> LensoraError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await collect(toy, request, seconds)
    return from_rpc(raised.value)


def written(target: str) -> bool:
    return Path(urlsplit(target).path).exists()


async def signalled(event: Any) -> None:
    assert await asyncio.to_thread(event.wait, 5)


async def test_progress_then_exactly_one_result_last(serving: Any, script: Script) -> None:
    async with serving() as toy:
        responses = await collect(toy, script("steps", (0.1, "a"), (0.5, "b"), (0.9, "c")))
    kinds = [response.WhichOneof("event") for response in responses]
    assert kinds == ["progress"] * (len(kinds) - 1) + ["result"]
    result = responses[-1].result
    assert result.photo.inline == b"stepped" and result.photo.sha256 == sha256_hex(b"stepped")
    assert result.photo.size == 7 and result.photo.media_type == "text/plain"
    assert result.engine.fingerprint == "toy/scripted@3"


async def test_no_phase_is_lost_however_fast_they_pass(serving: Any, script: Script) -> None:
    phases = [str(number // 7) for number in range(2100)]
    steps = [(number / 2100, phase) for number, phase in enumerate(phases)]
    async with serving() as toy:
        responses = await collect(toy, script("steps", *steps))
    progress = [response.progress for response in responses[:-1]]
    assert list(dict.fromkeys(report.phase for report in progress)) == list(dict.fromkeys(phases))
    assert [report.fraction for report in progress] == sorted(report.fraction for report in progress)


async def test_a_fraction_never_falls_even_after_a_crash(serving: Any, script: Script, tmp_path: Path) -> None:
    runner = ProcessRunner("toy", WorkerSettings(engine="scripted"), "toy_engines")
    async with serving(runner) as toy:
        responses = await collect(toy, script("exit_once", str(tmp_path / "marker"), 5))
    fractions = [response.progress.fraction for response in responses[:-1]]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(5 / 6)
    assert responses[-1].WhichOneof("event") == "result"


async def test_a_small_result_is_inline_even_with_a_target(serving: Any, script: Script) -> None:
    async with serving() as toy:
        target = toy.store.new_target()
        photo = (await collect(toy, script("bulk", INLINE_LIMIT, target=target)))[-1].result.photo
        assert len(photo.inline) == photo.size == INLINE_LIMIT
        assert not written(target)


async def test_a_large_result_goes_to_its_target(serving: Any, script: Script) -> None:
    async with serving() as toy:
        target = toy.store.new_target()
        photo = (await collect(toy, script("bulk", INLINE_LIMIT + 1, target=target)))[-1].result.photo
        assert photo.WhichOneof("source") == "url" and photo.url == target and photo.size == INLINE_LIMIT + 1
        toy.store.publish("local", photo.url, photo.sha256, photo.size)
        assert toy.store.exists("local", photo.sha256)


async def test_a_large_result_without_a_fitting_target_is_refused(serving: Any, script: Script) -> None:
    async with serving() as toy:
        missing = await refused(toy, script("bulk", INLINE_LIMIT + 1))
        assert isinstance(missing, InvalidArgument) and missing.violations[0].field == "photo_target"
        target = toy.store.new_target()
        large = await refused(toy, script("bulk", INLINE_LIMIT + 1, target=target, max_bytes=INLINE_LIMIT))
        assert isinstance(large, ResourceExhausted) and str(INLINE_LIMIT) in large.message
        assert not written(target)
        outside = await refused(toy, script("bulk", INLINE_LIMIT + 1, target="file:///tmp/elsewhere"))
        assert outside.reason == "BLOB_PREFIX" and outside.violations[0].field == "photo_target.url"


async def test_what_is_read_is_checked(serving: Any, tmp_path: Path) -> None:
    data = b'["echo", "from the store"]'
    async with serving() as toy:
        sha256 = toy.store.put("local", data)
        url = toy.store.url("local", sha256)

        def request(**blob: Any) -> Any:
            return detect_pb2.DetectObjectsRequest(image=blob_pb2.Blob(**blob))

        good = await collect(toy, request(url=url, sha256=sha256, size=len(data)))
        assert good[-1].result.photo.inline == b"from the store"
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(data)
        for blob, field, reason in (
            ({}, "image", "INVALID_ARGUMENT"),
            ({"inline": data, "sha256": "0" * 64}, "image", "BLOB_DIGEST"),
            ({"inline": b" " * (INLINE_LIMIT + 1)}, "image.inline", "INVALID_ARGUMENT"),
            ({"url": url, "sha256": sha256, "size": len(data) - 1}, "image", "BLOB_DIGEST"),
            ({"url": url, "sha256": sha256, "size": -1}, "image.size", "INVALID_ARGUMENT"),
            ({"url": file_url(elsewhere), "sha256": sha256, "size": len(data)}, "image.url", "BLOB_PREFIX"),
        ):
            error = await refused(toy, request(**blob))
            assert isinstance(error, InvalidArgument) and error.reason == reason
            assert error.violations[0].field == field


async def test_errors_of_every_part_end_the_stream(serving: Any, script: Script) -> None:
    async with serving() as toy:
        with capture_logs():
            assert (await refused(toy, script("refuse"))).metadata == {"step": "toy"}
            broken = await refused(toy, script("break_down"))
            assert broken.reason == "INTERNAL" and "4711" not in broken.message
            garbage = detect_pb2.DetectObjectsRequest(image=blob_pb2.Blob(inline=b"no JSON"))
            assert (await refused(toy, garbage)).reason == "INTERNAL"
        assert (await collect(toy, script("echo", "still well")))[-1].result.photo.inline == b"still well"


async def test_cancelling_the_call_stops_the_engine(serving: Any, script: Script, events: Any) -> None:
    async with serving() as toy:
        call = toy.stub.DetectObjects(script("loop", "cancelled"))
        assert (await call.read()).progress.phase == "looping"
        call.cancel()
        await signalled(events["cancelled ended"])
        assert await toy.border.wait_idle(5)


async def test_a_caller_who_does_not_read_can_still_cancel(serving: Any, script: Script, events: Any) -> None:
    async with serving() as toy:
        call = toy.stub.DetectObjects(script("babble", 3000))
        await call.read()
        await signalled(events["babbling"])
        assert not await toy.border.wait_idle(0.2)
        call.cancel()
        assert await toy.border.wait_idle(5), "the engine is stopped although the stream was full"


async def test_the_call_s_deadline_is_the_engine_s(serving: Any, script: Script, events: Any) -> None:
    async with serving() as toy:
        error = await refused(toy, script("loop", "late"), seconds=0.3)
        assert isinstance(error, DeadlineExceeded)
        await signalled(events["late ended"])
        assert await toy.border.wait_idle(5)


async def test_a_dropped_connection_stops_the_engine(serving: Any, script: Script, events: Any) -> None:
    async with serving() as toy:
        other = grpc.aio.insecure_channel(toy.address)
        call = other.unary_stream(
            "/lensora.detect.v1.DetectService/DetectObjects",
            request_serializer=detect_pb2.DetectObjectsRequest.SerializeToString,
            response_deserializer=detect_pb2.DetectObjectsResponse.FromString,
        )(script("loop", "dropped"))
        await call.read()
        await other.close()
        await signalled(events["dropped ended"])


async def test_queued_calls_wait_and_are_all_answered(serving: Any, script: Script) -> None:
    assert ServiceSettings().max_concurrency < 8
    async with serving() as toy:
        answers = await asyncio.gather(*(collect(toy, script("echo", number)) for number in range(8)))
    assert [answer[-1].result.photo.inline for answer in answers] == [str(number).encode() for number in range(8)]


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x1a\x03\x0a\x01\xff"], ids=["no message", "no UTF-8"])
async def test_bytes_that_are_no_request_are_an_argument_of_the_callers(serving: Any, data: bytes) -> None:
    async with serving() as toy, grpc.aio.insecure_channel(toy.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            raw: Any = channel.unary_stream("/lensora.detect.v1.DetectService/DetectObjects")
            await raw(data).read()
    error = from_rpc(raised.value)
    assert isinstance(error, InvalidArgument) and error.reason == "MALFORMED_REQUEST"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Any]]:
    """What the metric of fallbacks was told."""
    told: list[tuple[int, Any]] = []

    class Counter:
        def add(self, amount: int, attributes: Any) -> None:
            told.append((amount, attributes))

    monkeypatch.setattr(stage, "_fallbacks", Counter())
    return told


async def test_who_stood_in_for_the_engine_is_named_noticed_logged_and_counted(
    serving: Any, script: Script, counted: list[tuple[int, Any]]
) -> None:
    async with serving() as toy:
        with capture_logs() as logs:
            call = toy.stub.DetectObjects(script("stand_in", "scripted", "MODEL_CRASHED"), timeout=10)
            *_, last = [response async for response in call]
        assert last.result.engine.fingerprint == "toy/other@9"
        assert last.result.photo.inline == b"done"
        notice = dict(await call.trailing_metadata())[stage.NOTICE]
        assert notice == "fallback; reason=MODEL_CRASHED; by=toy/other@9"
    attributes = {"service": "toy", "engine": "scripted", "by": "other", "reason": "MODEL_CRASHED"}
    assert counted == [(1, attributes)]
    assert [log["reason"] for log in logs if log["event"] == "fallback"] == ["MODEL_CRASHED"]


async def test_a_result_of_another_version_is_no_fallback(
    serving: Any, script: Script, counted: list[tuple[int, Any]]
) -> None:
    async with serving() as toy:
        call = toy.stub.DetectObjects(script("stand_in", "", ""), timeout=10)
        *_, last = [response async for response in call]
        assert last.result.engine.fingerprint == "toy/other@9"
        assert stage.NOTICE not in dict(await call.trailing_metadata())
    assert counted == []
