"""What a caller does with the HTTP edge."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from tests.contract.harness import Gateway
from tests.contract.scripted import PATIENCE

STEPS = ["cropping", "removing-bg", "generating-bg", "compositing", "generating-3d", "rendering-video"]


@dataclass(slots=True)
class Caller:
    """Somebody with an HTTP client, and perhaps with a key."""

    gateway: Gateway
    client: httpx.AsyncClient

    async def init(self, photo: bytes | None = None, **keywords: Any) -> httpx.Response:
        """Upload a photo."""
        files = {"image": ("photo.jpg", photo or self.gateway.photo, "image/jpeg")}
        return await self.client.post("/v1/studio/init", files=files, **keywords)

    async def session(self) -> str:
        """The id of a new session."""
        return str(good(await self.init(), 200)["session_id"])

    async def transform(
        self, session_id: str, headers: dict[str, str] | None = None, /, **changes: Any
    ) -> httpx.Response:
        """Ask for a job that is fine but for ``changes``."""
        return await self.client.post("/v1/studio/transform", json=body_of(session_id, **changes), headers=headers)

    async def start(self, **changes: Any) -> dict[str, Any]:
        """Start a job on a new photo."""
        return good(await self.transform(await self.session(), **changes), 202)

    async def result(self, job_id: str) -> dict[str, Any]:
        """The job as it is now."""
        return good(await self.client.get(f"/v1/studio/result/{job_id}"), 200)

    async def story(self, url: str, **headers: str) -> list[tuple[int, dict[str, Any]]]:
        """All events to the end, each with its id."""
        async with self.client.stream("GET", url, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"].startswith("text/event-stream")
            return [event async for event in events_of(response)]

    async def make(self, **changes: Any) -> dict[str, Any]:
        """A job from its photo to its good end."""
        accepted = await self.start(**changes)
        await self.story(accepted["events_url"])
        result = await self.result(accepted["job_id"])
        assert result["status"] == "succeeded", result["error"]
        return result


@contextlib.asynccontextmanager
async def calling(gateway: Gateway, key: str = "") -> AsyncIterator[Caller]:
    """A caller of this gateway."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=gateway.http, headers=headers, timeout=PATIENCE, trust_env=False) as client:
        yield Caller(gateway, client)


def good(response: httpx.Response, status: int) -> dict[str, Any]:
    """The JSON of an answer that must have this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    value: dict[str, Any] = response.json()
    return value


def refused(response: httpx.Response, status: int, code: str | None = None, field: str | None = None) -> dict[str, Any]:
    """The problem of an answer that must be one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    assert code is None or problem["code"] == code, problem
    assert field is None or [item["field"] for item in problem["errors"]] == [field], problem
    return problem


def body_of(session_id: str, /, **changes: Any) -> dict[str, Any]:
    """The body of a transform; a change to None leaves the field out."""
    body = {
        "session_id": session_id,
        "object_index": 0,
        "background": {"type": "prompt", "prompt": "a marble table"},
        "camera_preset": "cinematic",
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


async def events_of(response: httpx.Response) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """The events of a stream, read as browsers do."""
    number, data = 0, ""
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            number = int(value)
        elif name == "data":
            data += value
        elif not line and data:
            yield number, json.loads(data)
            data = ""


async def raw(gateway: Gateway, *parts: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which these bytes were sent."""
    host, _, port = gateway.http.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
        await writer.drain()
    return reader, writer


async def answered(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, headers and JSON of the answer on a raw connection."""
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, json.loads(body)
