"""Calls to one track or the other, whose inputs and results are bytes here and blobs there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

from gateway.blobs import BlobStore, open_store
from gateway.settings import Settings
from lensora.background.v1 import background_pb2_grpc
from lensora.core.blobs import INLINE_LIMIT, sha256_hex
from lensora.core.errors import Internal, LensoraError, Unavailable
from lensora.detect.v1 import detect_pb2_grpc
from lensora.mesh3d.v1 import mesh3d_pb2_grpc
from lensora.render.v1 import render_pb2_grpc
from lensora.runtime.callees import open_service
from lensora.runtime.errors import from_rpc
from lensora.runtime.mesh import CANARY
from lensora.segment.v1 import segment_pb2_grpc
from lensora.type.v1 import blob_pb2

STABLE, CANARY_TRACK = "stable", "canary"

_ACCOUNT = "canary-judge"
"""Owns results for the moment between their arrival and their removal."""

_ROUTE = {STABLE: "never", CANARY_TRACK: "always"}
_METHODS: dict[str, tuple[str, Any, str]] = {
    "DetectObjectsRequest": ("detect", detect_pb2_grpc.DetectServiceStub, "DetectObjects"),
    "SegmentRequest": ("segment", segment_pb2_grpc.SegmentServiceStub, "Segment"),
    "BuildSceneRequest": ("background", background_pb2_grpc.BackgroundServiceStub, "BuildScene"),
    "ReconstructRequest": ("mesh3d", mesh3d_pb2_grpc.Mesh3dServiceStub, "Reconstruct"),
    "RenderRequest": ("render", render_pb2_grpc.RenderServiceStub, "Render"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call gave."""

    seconds: float
    result: Any = None
    """The result message; None where it failed."""

    error: LensoraError | None = None
    blobs: dict[str, bytes] = field(default_factory=dict)
    """The result's bytes by SHA-256."""


class Tracks:
    """Calls the services as the gateway does, with its settings, blob store and certificates."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: BlobStore = open_store(settings.blobs_url, settings.home / "blobs", settings.url_seconds)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._known: dict[str, bytes] = {}

    async def close(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            await channel.close()

    def blob(self, data: bytes, media_type: str) -> blob_pb2.Blob:
        """An input, to be put into a request."""
        self._known[sha256_hex(data)] = data
        return blob_pb2.Blob(sha256=sha256_hex(data), size=len(data), media_type=media_type)

    async def recorded(self, account: str, sha256: str, media_type: str) -> blob_pb2.Blob:
        """An input out of an account's blobs.

        Raises:
            NotFound: it is gone.
        """

        def read() -> bytes:
            with self._store.open(account, sha256) as file:
                return file.read()

        return self.blob(await self._store.run(read), media_type)

    def data(self, blob: blob_pb2.Blob) -> bytes:
        """The bytes of an input, or of a result that was an input since."""
        return self._known[blob.sha256]

    async def ask(self, request: Message, track: str) -> Answer:
        """One call; what it fails with is part of the answer."""
        begun = time.monotonic()
        try:
            result, blobs = await self._call(request, track)
        except LensoraError as error:
            return Answer(time.monotonic() - begun, error=error)
        return Answer(time.monotonic() - begun, result, blobs=blobs)

    async def result(self, request: Message) -> Any:
        """The stable track's result, whose blobs can be inputs of further calls.

        Raises:
            LensoraError: what the call failed with.
        """
        result, blobs = await self._call(request, STABLE)
        self._known |= blobs
        return result

    async def _call(self, request: Message, track: str) -> tuple[Any, dict[str, bytes]]:
        service, stub, name = _METHODS[type(request).__name__]
        channel = await self._ready(service)
        call = type(request)()
        call.CopyFrom(request)
        targets: list[str] = []
        try:
            await self._store.run(self._aim, call, targets)
            metadata, seconds = ((CANARY, _ROUTE[track]),), self._settings.stage_seconds
            responses = getattr(stub(channel), name)(call, timeout=seconds, metadata=metadata)
            result: Any = None
            async for response in responses:
                if response.WhichOneof("event") == "result":
                    result = response.result
            if result is None:
                raise Internal(f"{service} ended without a result", reason="STAGE_PROTOCOL")
            return result, await self._store.run(self._read, result, targets)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        finally:
            for target in targets:
                await self._store.run(self._store.discard, target)

    async def _ready(self, service: str) -> grpc.aio.Channel:
        if service not in self._channels:
            self._channels[service] = open_service(service, *self._settings.way_to(service))
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                await self._channels[service].channel_ready()
        except TimeoutError:
            raise Unavailable(f"the {service} service is not there", reason="STAGE_UNAVAILABLE") from None
        return self._channels[service]

    def _aim(self, request: Any, targets: list[str]) -> None:
        for blob in _find(request, blob_pb2.Blob):
            data = self._known[blob.sha256]
            if len(data) <= INLINE_LIMIT:
                blob.inline = data
            else:
                targets.append(self._store.new_target())
                blob.url = self._store.stage(targets[-1], data)
        for descriptor in request.DESCRIPTOR.fields:
            if descriptor.message_type is blob_pb2.BlobTarget.DESCRIPTOR and descriptor.name != "alpha_video_target":
                targets.append(self._store.new_target())
                getattr(request, descriptor.name).url = targets[-1]

    def _read(self, result: Message, targets: list[str]) -> dict[str, bytes]:
        blobs: dict[str, bytes] = {}
        for blob in _find(result, blob_pb2.Blob):
            if blob.WhichOneof("source") == "inline":
                blobs[blob.sha256] = blob.inline
            elif blob.url in targets:
                with self._published(blob) as data:
                    blobs[blob.sha256] = data
            else:
                raise Internal("a stage returned a blob that was not asked for", reason="STAGE_PROTOCOL")
            blob.ClearField("source")
        return blobs

    @contextlib.contextmanager
    def _published(self, blob: blob_pb2.Blob) -> Iterator[bytes]:
        """The bytes behind a result, checked, and gone afterwards."""
        self._store.publish(_ACCOUNT, blob.url, blob.sha256, blob.size)
        try:
            with self._store.open(_ACCOUNT, blob.sha256) as file:
                yield file.read()
        finally:
            self._store.remove(_ACCOUNT, [blob.sha256])


def _find(message: Message, kind: type[Any]) -> Iterator[Any]:
    """All submessages of one type, at any depth."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        for item in value if descriptor.is_repeated else (value,):
            if isinstance(item, kind):
                yield item
            else:
                yield from _find(item, kind)
