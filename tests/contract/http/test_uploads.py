"""What strangers send: taken within bounds of bytes and time, or refused with a reason; never charged for nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any

import grpc
import pytest

from gateway.edge.http import bodies
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, running_gateway, running_services
from tests.contract.harness import refused as grpc_refused
from tests.contract.http.caller import Caller, answered, body_of, calling, good, raw, refused
from tests.contract.scripted import PATIENCE, Services

BOUNDARY = "frontier"
TYPE = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, data: bytes, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + data + b"\r\n"


def image(data: bytes) -> bytes:
    return part("image", data, '; filename="photo.jpg"')


END = f"--{BOUNDARY}--\r\n".encode()


def head(length: int | None, path: str = "/v1/studio/init", kind: str = TYPE["Content-Type"]) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{size}\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def balance(caller: Caller) -> int:
    return int(good(await caller.client.get("/v1/credits"), 200)["balance"])


@contextlib.asynccontextmanager
async def nothing_happens(caller: Caller, services: Services) -> AsyncIterator[None]:
    """No charge, no work, nothing left behind."""
    before = await balance(caller)
    yield
    assert not services["DetectObjects"].calls
    assert await balance(caller) == before
    assert caller.gateway.staged() == []
    files = {path.name for path in caller.gateway.settings.home.iterdir()}
    assert files <= {"blobs", "studio.db", "studio.db-wal", "studio.db-shm", "signing.key"}


async def post(caller: Caller, body: bytes, headers: dict[str, str] | None = None) -> Any:
    return await caller.client.post("/v1/studio/init", content=body, headers=headers or TYPE)


@pytest.mark.parametrize("order", ["before", "after", "absent"])
async def test_fields_come_in_any_order(caller: Caller, services: Services, order: str) -> None:
    number, photo = part("max_objects", b"3"), image(caller.gateway.photo)
    body = {"before": number + photo, "after": photo + number, "absent": photo}[order]
    good(await post(caller, body + END), 200)
    assert services["DetectObjects"].calls[0].request.max_objects == (6 if order == "absent" else 3)


BROKEN: list[tuple[str, bytes, str | None]] = [
    ("nothing", b"", "body"),
    ("no part", END, "image"),
    ("no image", part("max_objects", b"3") + END, "image"),
    ("empty image", image(b"") + END, "image"),
    ("two images", image(b"a") + image(b"b") + END, "image"),
    ("two numbers", part("max_objects", b"3") * 2 + image(b"a") + END, "max_objects"),
    ("another field", image(b"a") + part("admin", b"1") + END, "admin"),
    ("many parts", b"".join(part(f"x{n}", b"1") for n in range(1000)) + END, "x0"),
    ("no name", b"--frontier\r\nContent-Disposition: form-data\r\n\r\na\r\n" + END, "body"),
    ("no head", b"--frontier\r\n\r\na\r\n" + END, "body"),
    ("cut short", image(b"a"), "body"),
    ("cut in a head", b"--frontier\r\nContent-Dispo", "body"),
    ("another boundary", image(b"a").replace(b"frontier", b"elsewhere") + END, "body"),
    ("no form", b"\xff\xd8\xff" * 100, "body"),
    ("endless head", b"--frontier\r\nX: " + b"a" * 100_000, "body"),
    ("many heads", b"--frontier\r\n" + b"X: a\r\n" * 1000, "body"),
    ("long number", part("max_objects", b"3" * 100_000) + image(b"a") + END, "max_objects"),
    *(
        (f"max_objects {text!r}", part("max_objects", text) + image(b"a") + END, "max_objects")
        for text in (b"", b"1", b"9", b"-3", b"3.0", b"three", b"\xff", b"3\x00", b"9" * 60)
    ),
]


@pytest.mark.parametrize(("body", "field"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
async def test_a_broken_form_is_refused(caller: Caller, services: Services, body: bytes, field: str) -> None:
    async with nothing_happens(caller, services):
        refused(await post(caller, body), 422, field=field)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("", 415),
        ("image/jpeg", 415),
        ("application/json", 415),
        ("multipart/mixed; boundary=x", 415),
        ("multipart/form-data", 422),
        ("multipart/form-data; boundary=", 422),
        ("multipart/form-data; boundary=" + "x" * 300, 422),
    ],
)
async def test_the_body_is_a_form(caller: Caller, services: Services, kind: str, status: int) -> None:
    async with nothing_happens(caller, services):
        response = await post(caller, image(b"a") + END, {"Content-Type": kind})
        refused(response, status, "BODY_WRONG_TYPE" if status == 415 else "BODY_MALFORMED")


async def test_twenty_million_bytes_are_taken(caller: Caller, services: Services) -> None:
    good(await caller.init(bytes(20_000_000)), 200)
    assert services["DetectObjects"].calls[0].request.image.size == 20_000_000
    assert caller.gateway.staged() == []


async def test_too_much_by_its_own_account_is_refused_unread(caller: Caller, services: Services) -> None:
    async with nothing_happens(caller, services):
        reader, writer = await raw(caller.gateway, head(21_000_000))
        status, headers, problem = await answered(reader)
        assert (status, problem["code"], headers["connection"]) == (413, "IMAGE_TOO_LARGE", "close")
        writer.close()


async def test_an_endless_upload_is_stopped(caller: Caller, services: Services) -> None:
    async with nothing_happens(caller, services):
        reader, writer = await raw(caller.gateway, head(None), chunk(image(b"")[:-2]))
        sent = 0

        async def send() -> None:
            nonlocal sent
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(chunk(bytes(500_000)))
                    await writer.drain()
                    sent += 500_000

        sending = asyncio.create_task(send())
        status, _, problem = await answered(reader)
        assert (status, problem["code"]) == (413, "IMAGE_TOO_LARGE")
        async with asyncio.timeout(PATIENCE):
            await sending
        assert sent < 60_000_000, "nobody reads on for long"
        writer.close()


async def test_too_much_around_the_image_is_refused(caller: Caller, services: Services) -> None:
    async with nothing_happens(caller, services):
        reader, writer = await raw(caller.gateway, head(None), chunk(image(b"a") + END))
        for _ in range(10):
            writer.write(chunk(b" " * 10_000))
        assert (await answered(reader))[0] == 413
        writer.close()


async def test_an_upload_that_stands_still_is_ended(tmp_path: Path) -> None:
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, upload_idle_seconds=0.3, upload_seconds=3600) as gateway,
        calling(gateway) as caller,
        nothing_happens(caller, services),
    ):
        reader, writer = await raw(gateway, head(1000), image(b"a" * 500))
        status, _, problem = await answered(reader)
        assert (status, problem["code"]) == (408, "UPLOAD_TIMED_OUT"), "nothing comes any more"
        writer.close()

        async def standing() -> AsyncIterator[studio_pb2.CreateSessionRequest]:
            yield studio_pb2.CreateSessionRequest(options=studio_pb2.SessionOptions())
            yield studio_pb2.CreateSessionRequest(chunk=b"a")
            await asyncio.Event().wait()

        call = gateway.stub.CreateSession(standing(), timeout=PATIENCE)
        await grpc_refused(call, grpc.StatusCode.DEADLINE_EXCEEDED, "UPLOAD_TIMED_OUT")


async def test_an_upload_that_trickles_is_ended(tmp_path: Path) -> None:
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, upload_idle_seconds=3600, upload_seconds=1.0) as gateway,
        calling(gateway) as caller,
        nothing_happens(caller, services),
    ):
        reader, writer = await raw(gateway, head(None), chunk(image(b"")[:-2]))

        async def trickle() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(chunk(b"a"))
                    await writer.drain()
                    await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        status, _, problem = await answered(reader)
        trickling.cancel()
        assert (status, problem["code"]) == (408, "UPLOAD_TIMED_OUT"), "something comes, but for ever"
        writer.close()


async def test_a_cut_connection_leaves_nothing(caller: Caller, services: Services) -> None:
    async with nothing_happens(caller, services):
        for _ in range(5):
            _, writer = await raw(caller.gateway, head(1_000_000), image(b"a" * 300_000))
            writer.transport.abort()
        good(await caller.client.get("/healthz"), 200)
    good(await caller.init(), 200)


async def test_a_disk_that_takes_no_upload_is_told(
    caller: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> IO[bytes]:
        return Path("/dev/full").open("w+b")

    gateway = caller.gateway
    async with nothing_happens(caller, services):
        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "TemporaryFile", full)
            problem = refused(await caller.init(bytes(1_000_000)), 503, "BLOB_WRITE")
            await grpc_refused(gateway.upload(bytes(100)), grpc.StatusCode.RESOURCE_EXHAUSTED, "BLOB_WRITE")
        assert "No space left" in problem["detail"] and "nothing was charged" in problem["detail"]
    good(await caller.init(), 200)


async def test_a_caller_that_leaves_stops_the_detector(caller: Caller, services: Services) -> None:
    before = await balance(caller)
    services["DetectObjects"].held()
    body = image(caller.gateway.photo) + END
    _, writer = await raw(caller.gateway, head(len(body)), body)
    asked = await services["DetectObjects"].begun()
    writer.transport.abort()
    assert (await asked.gone()).cancelled
    await caller.gateway.settled(caller.gateway.staged)
    assert await balance(caller) == before


async def test_a_refusal_is_heard_by_who_writes_to_the_end_first(tmp_path: Path) -> None:
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, auth="keys") as gateway,
        calling(gateway) as caller,
    ):
        for _ in range(3):
            refused(await caller.init(bytes(8_000_000)), 401, "UNAUTHENTICATED")
            refused(await caller.client.post("/nowhere", content=bytes(8_000_000)), 404)


async def test_few_photos_are_in_memory_at_once(caller: Caller, services: Services) -> None:
    limit = caller.gateway.settings.running_inits
    hold = services["DetectObjects"].held()
    uploads = [asyncio.create_task(caller.init(b"photo %d" % number)) for number in range(limit + 4)]
    turns: Any = caller.gateway.studio._detections
    await caller.gateway.settled(lambda: len(turns._waiters or ()) != 4)
    await services["DetectObjects"].begun(limit)
    assert len(services["DetectObjects"].calls) == limit, "the others wait on disk"
    hold.set()
    for response in await asyncio.gather(*uploads):
        good(response, 200)


JSON_ATTACKS: list[tuple[str, bytes, int, str | None]] = [
    ("nothing", b"", 422, "body"),
    ("no JSON", b"{", 422, "body"),
    ("no UTF-8", b'{"a": "\xff"}', 422, "body"),
    ("a list", b"[]", 422, "body"),
    ("null", b"null", 422, "body"),
    ("NaN", b'{"seed": NaN}', 422, "body"),
    ("Infinity", b'{"output": {"duration_s": Infinity}}', 422, "body"),
    ("deep", b"[" * 60_000, 422, "body"),
    ("long number", b'{"seed": ' + b"9" * 60_000 + b"}", 422, "body"),
    ("large", b'{"a": "' + b"a" * 70_000 + b'"}', 413, "body"),
    ("python's own name", b'{"model": 1, "self": 2, "cls": 3}', 422, None),
    ("many fields", json.dumps({f"field{n}": n for n in range(3000)}).encode(), 422, None),
    ("lone surrogate", b'{"\\ud800": "\\udfff"}', 422, None),
    ("NUL", b'{"session_id": "\\u0000"}', 422, None),
]


@pytest.mark.parametrize(
    ("body", "status", "field"), [row[1:] for row in JSON_ATTACKS], ids=[row[0] for row in JSON_ATTACKS]
)
async def test_a_broken_body_is_refused(caller: Caller, body: bytes, status: int, field: str | None) -> None:
    headers = {"Content-Type": "application/json"}
    response = await caller.client.post("/v1/studio/transform", content=body, headers=headers)
    problem = refused(response, status, field=field)
    assert len(problem["errors"]) == 5 if b"field2999" in body else len(problem["errors"]) <= 5
    assert len(response.content) < 4000


FIELDS: list[tuple[str, dict[str, Any]]] = [
    ("session_id", {"session_id": "x"}),
    ("session_id", {"session_id": None}),
    ("object_index", {"object_index": -1}),
    ("object_index", {"object_index": 1.5}),
    ("object_index", {"object_index": True}),
    ("object_index", {"object_index": "0"}),
    ("background", {"background": None}),
    ("background", {"background": {"type": "picture", "sha256": "0" * 64, "size": 1}}),
    ("background.prompt", {"background": {"type": "prompt"}}),
    ("background.prompt", {"background": {"type": "prompt", "prompt": "a\u0000b"}}),
    ("background.prompt", {"background": {"type": "prompt", "prompt": "a" * 1001}}),
    ("background.url", {"background": {"type": "url", "url": "http://example.com/a.jpg"}}),
    ("background.url", {"background": {"type": "url", "url": "file:///etc/passwd"}}),
    ("background.more", {"background": {"type": "transparent", "more": 1}}),
    ("camera_preset", {"camera_preset": "fly"}),
    ("seed", {"seed": 2**63}),
    ("on_slab", {"on_slab": "shrug"}),
    ("output.width", {"output": {"width": 1281}}),
    ("output.duration_s", {"output": {"duration_s": 1e9}}),
    ("more", {"more": 1}),
]


@pytest.mark.parametrize(("field", "changes"), FIELDS)
async def test_a_broken_rule_names_the_field(caller: Caller, field: str, changes: dict[str, Any]) -> None:
    refused(await caller.transform(await caller.session(), **changes), 422, "INVALID_ARGUMENT", field)


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x"])
async def test_transform_takes_json_alone(caller: Caller, kind: str) -> None:
    body = json.dumps(body_of(await caller.session()))
    response = await caller.client.post("/v1/studio/transform", content=body, headers={"Content-Type": kind})
    refused(response, 415, "BODY_WRONG_TYPE", "Content-Type")


async def test_a_slow_body_is_ended(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_JSON_SECONDS", 0.2)
    reader, writer = await raw(gateway, head(100, "/v1/studio/transform", "application/json"), b"{")
    status, _, problem = await answered(reader)
    assert (status, problem["code"]) == (408, "UPLOAD_TIMED_OUT")
    writer.close()
