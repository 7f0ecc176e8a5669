"""CreateSession: a stranger's upload, in bounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lensora.core.errors import InvalidArgument
from lensora.runtime.errors import from_rpc
from lensora.studio.v1 import studio_pb2, studio_pb2_grpc
from tests.contract.harness import Gateway, refused, running_gateway, running_services
from tests.contract.scripted import PATIENCE, Services

INVALID = grpc.StatusCode.INVALID_ARGUMENT
Request = studio_pb2.CreateSessionRequest


def options(**values: Any) -> Request:
    return Request(options=studio_pb2.SessionOptions(**values))


def chunks(data: bytes, size: int = 256 * 1024) -> Iterator[Request]:
    for start in range(0, len(data), size):
        yield Request(chunk=data[start : start + size])


async def test_an_upload_becomes_a_session(gateway: Gateway, services: Services) -> None:
    photo = bytes(range(256)) * 4000
    answer = await gateway.stub.CreateSession([options(max_objects=2), *chunks(photo)], timeout=PATIENCE)
    session = answer.session
    asked = services["DetectObjects"].calls[0].request
    assert (asked.image.size, asked.max_objects) == (len(photo), 2), "and the service read just these bytes"
    assert [item.index for item in session.objects] == [0, 1, 2]
    assert (session.objects[0].label, session.objects[-1].category) == ("reflex camera", "full_frame")
    assert session.objects[0].score == 1.0
    assert (session.objects[1].bbox.x1, session.objects[1].bbox.y2) == (0.5, 1.0)
    assert (session.photo_width, session.photo_height) == (640, 480)
    assert session.expires_at.seconds - session.created_at.seconds == 24 * 3600
    assert gateway.staged() == [], "the upload itself is not kept"


async def test_max_objects_has_a_default(gateway: Gateway, services: Services) -> None:
    await gateway.upload(max_objects=0)
    assert services["DetectObjects"].calls[0].request.max_objects == 6


@pytest.mark.parametrize("max_objects", [-1, 1, 9, 2**31 - 1])
async def test_max_objects_is_two_to_eight(gateway: Gateway, services: Services, max_objects: int) -> None:
    error = await refused(gateway.upload(max_objects=max_objects), INVALID)
    assert [violation.field for violation in error.violations] == ["max_objects"]
    assert not services["DetectObjects"].calls


async def test_bytes_that_are_no_message_are_refused_wherever_they_come(gateway: Gateway, services: Services) -> None:
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        upload: Any = channel.stream_unary("/lensora.studio.v1.StudioService/CreateSession")
        for messages in ([b"\xff"], [options().SerializeToString(), b"\x12\x05ab"]):
            await refused(upload(messages, timeout=PATIENCE), INVALID, "MALFORMED_REQUEST")
    assert not services["DetectObjects"].calls


@pytest.mark.parametrize(
    "messages",
    [[], [Request(chunk=b"photo")], [Request()], [Request(), options(), Request(chunk=b"photo")]],
    ids=["nothing", "chunk first", "empty", "empty first"],
)
async def test_options_come_first(gateway: Gateway, services: Services, messages: list[Request]) -> None:
    error = await refused(gateway.stub.CreateSession(messages, timeout=PATIENCE), INVALID)
    assert [violation.field for violation in error.violations] == ["options"]
    assert not services["DetectObjects"].calls


@pytest.mark.parametrize("again", [options(max_objects=3), Request()], ids=["options", "empty"])
async def test_options_come_once(gateway: Gateway, services: Services, again: Request) -> None:
    messages = [options(), Request(chunk=b"one"), again, Request(chunk=b"two")]
    error = await refused(gateway.stub.CreateSession(messages, timeout=PATIENCE), INVALID)
    assert [violation.field for violation in error.violations] == ["options"]
    assert not services["DetectObjects"].calls


@pytest.mark.parametrize("messages", [[options()], [options(), Request(chunk=b"")]], ids=["no chunk", "empty chunk"])
async def test_an_empty_photo_is_refused(gateway: Gateway, services: Services, messages: list[Request]) -> None:
    error = await refused(gateway.stub.CreateSession(messages, timeout=PATIENCE), INVALID)
    assert [violation.field for violation in error.violations] == ["image"]
    assert not services["DetectObjects"].calls
    assert gateway.staged() == []


async def test_twenty_million_bytes_are_taken(gateway: Gateway, services: Services) -> None:
    await gateway.stub.CreateSession([options(), *chunks(bytes(20_000_000), 1_000_000)], timeout=PATIENCE)
    assert services["DetectObjects"].calls[0].request.image.size == 20_000_000
    assert gateway.staged() == []


async def test_a_chunk_is_at_most_a_mebibyte(gateway: Gateway) -> None:
    upload = [options(), Request(chunk=bytes(2**20)), Request(chunk=bytes(2**20 + 1))]
    error = await refused(gateway.stub.CreateSession(upload, timeout=PATIENCE), INVALID, "INVALID_ARGUMENT")
    assert [violation.field for violation in error.violations] == ["chunk"]


async def test_detection_says_its_time(gateway: Gateway, services: Services) -> None:
    hold = services["DetectObjects"].held()
    upload = [options(), Request(chunk=b"a slow photo")]
    call = gateway.stub.CreateSession(upload, timeout=PATIENCE)
    await services["DetectObjects"].begun()
    asyncio.get_running_loop().call_later(0.05, hold.set)
    response = await call
    assert 45 <= response.detect_elapsed_ms < 1000 * PATIENCE


async def test_one_more_byte_is_refused_without_waiting_for_the_rest(gateway: Gateway, services: Services) -> None:
    async def endless() -> AsyncIterator[Request]:
        yield options()
        for chunk in chunks(bytes(20_000_001), 1_000_000):
            yield chunk
        await asyncio.Event().wait()  # the caller never says that this was all

    error = await refused(gateway.stub.CreateSession(endless(), timeout=PATIENCE), INVALID, "IMAGE_TOO_LARGE")
    assert [violation.field for violation in error.violations] == ["image"]
    assert "20,000,000" in error.message
    assert not services["DetectObjects"].calls


async def test_an_endless_upload_is_stopped(gateway: Gateway) -> None:
    sent = 0

    def endless() -> Iterator[Request]:
        nonlocal sent
        yield options()
        while True:
            sent += 1
            yield Request(chunk=bytes(500_000))

    def upload() -> grpc.RpcError:
        # The blocking client: when grpc.aio is cut off while it writes, it may tell of the write instead of the answer.
        with grpc.insecure_channel(gateway.address) as channel, pytest.raises(grpc.RpcError) as caught:
            stub: Any = studio_pb2_grpc.StudioServiceStub(channel)
            stub.CreateSession(endless(), timeout=PATIENCE)
        return caught.value

    told: Any = await asyncio.to_thread(upload)
    assert told.code() is INVALID, told
    assert from_rpc(told).reason == "IMAGE_TOO_LARGE"
    assert sent * 500_000 < 60_000_000, "it is stopped soon after the limit of 20 MB"
    await gateway.upload()


async def test_the_services_own_error_arrives_with_its_field(gateway: Gateway, services: Services) -> None:
    services["DetectObjects"].error = InvalidArgument.of("image", "80 megapixels; at most 50", reason="IMAGE_BOMB")
    error = await refused(gateway.upload(), INVALID, "IMAGE_BOMB")
    assert [(item.field, item.description) for item in error.violations] == [("image", "80 megapixels; at most 50")]
    assert gateway.staged() == []
    services["DetectObjects"].error = None
    await gateway.upload()


async def test_a_detector_that_is_down_is_unavailable_until_it_is_back(tmp_path: Path) -> None:
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, connect_seconds=0.2) as gateway,
    ):
        await services.detect.stop()
        error = await refused(gateway.upload(), grpc.StatusCode.UNAVAILABLE, "STAGE_UNAVAILABLE")
        assert "detect" in error.message
        assert gateway.staged() == []
        await services.detect.start()
        session = None
        async with asyncio.timeout(PATIENCE):
            while session is None:
                with contextlib.suppress(grpc.aio.AioRpcError):  # until its channel connects again
                    session = await gateway.upload()
        assert session.objects


async def test_a_caller_that_leaves_stops_the_detector(gateway: Gateway, services: Services) -> None:
    services["DetectObjects"].held()
    call = gateway.stub.CreateSession([options(), Request(chunk=b"photo")], timeout=PATIENCE)
    asked = await services["DetectObjects"].begun()
    call.cancel()
    assert (await asked.gone()).cancelled
    await gateway.settled(gateway.staged)


def spoil_box(result: Any) -> None:
    result.proposals[0].bbox.x1 = 0.9


def spoil_score(result: Any) -> None:
    result.proposals[0].score = float("nan")


def spoil_photo(result: Any) -> None:
    result.ClearField("photo")


@pytest.mark.parametrize("spoil", [spoil_box, spoil_score, spoil_photo])
async def test_a_detector_that_answers_nonsense_is_our_fault(gateway: Gateway, services: Services, spoil: Any) -> None:
    services["DetectObjects"].tweak = spoil
    await refused(gateway.upload(), grpc.StatusCode.INTERNAL, "STAGE_PROTOCOL")
    services["DetectObjects"].tweak = None
    await gateway.upload()
