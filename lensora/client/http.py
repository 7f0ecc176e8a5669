"""The studio over HTTP."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any, BinaryIO

import httpx

from lensora.client.transport import CHUNK_BYTES, lost, no_artifact
from lensora.client.values import (
    Artifact,
    ArtifactKind,
    CameraReport,
    DetectedObject,
    JobEvent,
    JobFailure,
    MeshReport,
    Order,
    Picture,
    Result,
    SessionInfo,
    StepReport,
)
from lensora.core.errors import Internal, InvalidArgument
from lensora.core.geometry import Box
from lensora.runtime.errors import from_problem

_SILENT_SECONDS = 45.0
"""A stream of events of which nothing comes for so long is lost; the studio says every 15 s that it is there."""


class HttpTransport:
    """See ``Transport``."""

    def __init__(self, key: str, url: str, timeout: float) -> None:
        # not a header of the client's: signed addresses may lead elsewhere, and the key stays here
        self._mine = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout)

    async def init(self, photo: BinaryIO, max_objects: int | None, key: str) -> SessionInfo:
        """See ``Transport``."""
        answer = await self._json(
            "POST",
            "/v1/studio/init",
            headers={"Idempotency-Key": key},
            files={"image": ("photo", photo, "application/octet-stream")},
            data={} if max_objects is None else {"max_objects": str(max_objects)},
        )
        return SessionInfo(
            answer["session_id"],
            answer["source_url"],
            tuple(DetectedObject(**item | {"bbox": Box(*item["bbox"])}) for item in answer["objects"]),
            answer["credits_used"],
            answer["detect_elapsed_ms"],
        )

    async def delete(self, session_id: str) -> None:
        """See ``Transport``."""
        path = f"/v1/studio/sessions/{session_id}"
        async with self._answered(self._client.stream("DELETE", path, headers=self._mine)):
            pass

    async def transform(self, session_id: str, order: Order, key: str) -> str:
        """See ``Transport``."""
        body = _body(session_id, order)
        answer = await self._json("POST", "/v1/studio/transform", headers={"Idempotency-Key": key}, json=body)
        return str(answer["job_id"])

    async def job(self, job_id: str) -> Result:
        """See ``Transport``."""
        return _result(await self._json("GET", f"/v1/studio/result/{job_id}"))

    async def cancel(self, job_id: str) -> Result:
        """See ``Transport``."""
        return _result(await self._json("POST", f"/v1/studio/jobs/{job_id}/cancel"))

    async def events(self, job_id: str, after: int) -> AsyncGenerator[tuple[JobEvent, Result | None] | None, None]:
        """See ``Transport``."""
        headers = self._mine | {"Last-Event-ID": str(after)}
        timeout = httpx.Timeout(self._client.timeout.connect, read=_SILENT_SECONDS)
        path = f"/v1/studio/jobs/{job_id}/events"
        async with self._answered(self._client.stream("GET", path, headers=headers, timeout=timeout)) as response:
            if response.status_code == httpx.codes.NO_CONTENT:
                return
            async for line in response.aiter_lines():
                if line.startswith("data: "):  # one line an event, as the studio sends them
                    yield _event(json.loads(line.removeprefix("data: ")))
                elif line.startswith(":"):  # a comment, to keep the connection
                    yield None
        raise lost("it closed the stream of events")  # as it does when it stops; after the last event nobody reads on

    async def artifact(self, job_id: str, kind: ArtifactKind) -> Artifact:
        """See ``Transport``."""
        result = await self.job(job_id)
        if kind not in result.outputs:
            raise no_artifact(result, kind)
        url = result.outputs[kind]
        whole = {"Accept-Encoding": "identity"}
        async with self._answered(self._client.stream("HEAD", url, headers=whole)) as response:
            headers = response.headers
            return Artifact(
                kind, headers["Content-Type"], int(headers["Content-Length"]), headers["ETag"].strip('"'), url
            )

    async def read(self, job_id: str, artifact: Artifact, offset: int) -> AsyncGenerator[bytes, None]:  # noqa: ARG002
        """See ``Transport``."""
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{artifact.sha256}"', "Accept-Encoding": "identity"}
        async with self._answered(self._client.stream("GET", artifact.url, headers=headers)) as response:
            if offset and response.status_code != httpx.codes.PARTIAL_CONTENT:
                raise Internal("the studio sent a whole file in place of its rest", reason="RANGE_IGNORED")
            async for chunk in response.aiter_bytes(CHUNK_BYTES):
                yield chunk

    async def close(self) -> None:
        """See ``Transport``."""
        await self._client.aclose()

    async def _json(self, method: str, path: str, headers: dict[str, str] | None = None, **keywords: Any) -> Any:
        call = self._client.stream(method, path, headers=self._mine | (headers or {}), **keywords)
        async with self._answered(call) as response:
            body = await response.aread()
            try:
                return json.loads(body)
            except ValueError:
                raise Internal(f"{response.url.host} answers, but not as a studio", reason="NOT_A_STUDIO") from None

    @contextlib.asynccontextmanager
    async def _answered(
        self, call: contextlib.AbstractAsyncContextManager[httpx.Response]
    ) -> AsyncGenerator[httpx.Response, None]:
        """A good answer, its body still to be read; what goes wrong until that is done becomes an error of ours."""
        try:
            async with call as response:
                if not response.is_success:
                    await response.aread()
                    raise from_problem(response.status_code, _problem(response), _retry_after(response))
                yield response
        except httpx.TransportError as error:
            raise lost(error if str(error) else type(error).__name__) from error


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The body of an error, unless a proxy of somebody else's wrote it."""
    with contextlib.suppress(ValueError):
        body = response.json()
        if isinstance(body, dict):
            return body
    return {}


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def _body(session_id: str, order: Order) -> dict[str, Any]:
    output = order.output
    body = {
        "session_id": session_id,
        "object_index": order.object_index,
        "background": _background(order.background),
        "camera_preset": order.camera,
        "seed": order.seed,
        "on_slab": order.on_slab,
        "output": {"width": output.width, "height": output.height, "duration_s": output.duration_s},
    }
    return body | ({"webhook_url": order.webhook_url} if order.webhook_url else {})


def _background(background: str | Picture) -> dict[str, str]:
    if isinstance(background, Picture):
        raise InvalidArgument.of("background", "a picture of one's own needs a grpc:// address")
    if background == "transparent":
        return {"type": "transparent"}
    kind = "url" if background.startswith("https://") else "prompt"
    return {"type": kind, kind: background}


def _event(value: dict[str, Any]) -> tuple[JobEvent, Result | None]:
    job = value.pop("job", None)
    return JobEvent(**value | {"time": datetime.fromisoformat(value["time"])}), _result(job) if job else None


def _result(value: dict[str, Any]) -> Result:
    outputs = value["outputs"] or {}
    return Result(
        **value
        | {
            "steps": tuple(StepReport(**_timed(step)) for step in value["steps"]),
            "outputs": {name.removesuffix("_url"): url for name, url in outputs.items()},
            "mesh": value["mesh"] and MeshReport(**value["mesh"]),
            "camera": value["camera"] and CameraReport(**value["camera"]),
            "crop_bbox": value["crop_bbox"] and Box(*value["crop_bbox"]),
            "error": value["error"] and JobFailure(**value["error"]),
        }
        | _times(value)
    )


def _timed(value: dict[str, Any]) -> dict[str, Any]:
    return value | _times(value)


def _times(value: dict[str, Any]) -> dict[str, datetime | None]:
    return {
        name: datetime.fromisoformat(text) if text else None for name, text in value.items() if name.endswith("_at")
    }
