"""Signed addresses: what they give, in which parts, and to whom not."""

from __future__ import annotations

import functools
import gzip
import operator
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio

from tests.contract.harness import Gateway
from tests.contract.http.caller import Caller, refused
from tests.contract.scripted import Services

SIZE = 600_000


@pytest_asyncio.fixture(loop_scope="session")
async def film(caller: Caller, services: Services) -> AsyncIterator[tuple[str, bytes]]:
    """Address and bytes of a film."""
    services["Render"].size, services["Render"].to_target = SIZE, True
    url = (await caller.make())["outputs"]["video_url"]
    yield url, (await caller.client.get(url)).content


async def test_a_file_comes_with_headers_that_keep_it_a_file(caller: Caller, film: tuple[str, bytes]) -> None:
    url, content = film
    response = await caller.client.get(url, headers={"Accept-Encoding": "gzip"})
    assert len(content) == SIZE
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["content-length"] == str(SIZE)
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-disposition"] == 'attachment; filename="film.mp4"'
    assert response.headers["cache-control"].startswith("private, max-age=86")
    assert "content-encoding" not in response.headers


RANGES = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-", 0, SIZE),
    ("bytes=599999-", SIZE - 1, SIZE),
    ("bytes=262143-262145", 262143, 262146),
    ("bytes=1-9999999999", 1, SIZE),
    ("bytes=-1", SIZE - 1, SIZE),
    ("bytes=-9999999999", 0, SIZE),
]


@pytest.mark.parametrize(("header", "start", "end"), RANGES)
async def test_a_range(caller: Caller, film: tuple[str, bytes], header: str, start: int, end: int) -> None:
    url, content = film
    response = await caller.client.get(url, headers={"Range": header})
    assert response.status_code == 206
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert response.content == content[start:end]


@pytest.mark.parametrize(
    "header", ["bytes=5-3", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes=0-1-2", "x"]
)
async def test_a_range_that_is_none_asks_for_all(caller: Caller, film: tuple[str, bytes], header: str) -> None:
    response = await caller.client.get(film[0], headers={"Range": header})
    assert (response.status_code, response.content) == (200, film[1])


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", "bytes=999999999-1000000000", "bytes=-0"])
async def test_a_range_past_the_end_is_told(caller: Caller, film: tuple[str, bytes], header: str) -> None:
    response = await caller.client.get(film[0], headers={"Range": header})
    refused(response, 416, "RANGE_NOT_SATISFIABLE")
    assert response.headers["content-range"] == f"bytes */{SIZE}"


async def test_conditions(caller: Caller, film: tuple[str, bytes]) -> None:
    url, content = film
    tag = (await caller.client.head(url)).headers["etag"]
    for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = await caller.client.get(url, headers={"If-None-Match": condition})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
    assert (await caller.client.get(url, headers={"If-None-Match": '"other"'})).status_code == 200
    for condition, status in ((tag, 206), ('"other"', 200), (f"W/{tag}", 200)):
        response = await caller.client.get(url, headers={"Range": "bytes=0-9", "If-Range": condition})
        assert response.status_code == status
        assert content.startswith(response.content)


async def test_head_tells_all_but_the_bytes(caller: Caller, film: tuple[str, bytes]) -> None:
    head, whole = await caller.client.head(film[0]), await caller.client.get(film[0])
    assert head.content == b""
    for name in ("content-type", "content-length", "etag", "content-disposition", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]


async def test_an_address_stays_the_same_for_a_while(caller: Caller, gateway: Gateway) -> None:
    result = await caller.make()
    gateway.signer._clock = lambda: 2_000_000_100.0
    first = await caller.result(result["job_id"])
    gateway.signer._clock = lambda: 2_000_000_399.0
    second = await caller.result(result["job_id"])
    assert first["outputs"] == second["outputs"]


async def test_an_altered_address_is_not_found(caller: Caller, film: tuple[str, bytes]) -> None:
    url = film[0]
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    account, job_id, name = parts.path.split("/")[-3:]
    altered = [
        url.replace(f"/{account}/", "/someone/"),
        url.replace(job_id, "0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c11"),
        url.replace(name, "mesh.glb"),
        url.replace(name, "../film.mp4"),
        url.replace(name, "nothing.txt"),
        url.replace(f"expires={query['expires']}", f"expires={int(query['expires']) + 1}"),
        url.replace(query["signature"], query["signature"][:-2]),
        url.replace(query["signature"], "ü" * 20),
        url.partition("?")[0],
        url.replace("/artifacts/", "/artifacts/%0A"),
    ]
    for address in altered:
        response = await caller.client.get(address)
        assert response.status_code == 404, address
        refused(response, 404)


async def test_an_address_expires(gateway: Gateway, caller: Caller, film: tuple[str, bytes]) -> None:
    hours, now = gateway.settings.artifact_url_hours, gateway.signer._clock()
    for late, status in ((hours * 3600 - 10, 200), (hours * 3600 + 310, 410)):
        gateway.signer._clock = functools.partial(operator.add, now, late)
        response = await caller.client.get(film[0])
        assert response.status_code == status
    refused(response, 410, "LINK_EXPIRED")


async def test_an_events_signature_opens_no_file(caller: Caller) -> None:
    accepted = await caller.start()
    await caller.story(accepted["events_url"])
    query = urlsplit(accepted["events_url"]).query
    for file in ("events", "film.mp4"):
        path = f"/v1/studio/artifacts/local/{accepted['job_id']}/{file}?{query}"
        refused(await caller.client.get(path), 404, "LINK_UNKNOWN")


async def test_bytes_that_are_gone_are_told(gateway: Gateway, caller: Caller, film: tuple[str, bytes]) -> None:
    tag = (await caller.client.head(film[0])).headers["etag"].strip('"')
    assert gateway.blobs.folder is not None
    (gateway.blobs.folder / "local" / tag[:2] / tag).unlink()
    refused(await caller.client.get(film[0]), 404, "BLOB_GONE")


async def test_json_is_compressed_and_pictures_are_not(caller: Caller) -> None:
    result = await caller.make()
    request = caller.client.build_request(
        "GET", f"/v1/studio/result/{result['job_id']}", headers={"Accept-Encoding": "gzip"}
    )
    response = await caller.client.send(request, stream=True)
    body = b"".join([piece async for piece in response.aiter_raw()])
    assert response.headers["content-encoding"] == "gzip"
    assert len(body) < len(gzip.decompress(body)) / 2
    for url in result["outputs"].values():
        file = await caller.client.get(url, headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in file.headers
