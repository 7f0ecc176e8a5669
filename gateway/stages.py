"""One function a stage: the request, its deadline, its results kept and used again by fingerprint."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

import grpc
import structlog
from google.protobuf.message import Message

from gateway import metrics
from gateway.blobs import BlobStore
from gateway.results import announced, find, result_type, stage_digest
from gateway.settings import Settings
from gateway.store import Claims, Store
from lensora.background.v1 import background_pb2, background_pb2_grpc
from lensora.core.blobs import sha256_hex
from lensora.core.errors import DeadlineExceeded, Internal, Unavailable
from lensora.detect.v1 import detect_pb2, detect_pb2_grpc
from lensora.mesh3d.v1 import mesh3d_pb2, mesh3d_pb2_grpc
from lensora.render.v1 import render_pb2, render_pb2_grpc
from lensora.runtime.callees import open_service
from lensora.runtime.errors import from_rpc
from lensora.runtime.interceptors import REQUEST_ID
from lensora.runtime.stage import NOTICE
from lensora.runtime.telemetry import outgoing, span
from lensora.segment.v1 import segment_pb2, segment_pb2_grpc
from lensora.type.v1 import blob_pb2, engine_pb2, engine_pb2_grpc

Result = TypeVar("Result", bound=Message)

Progress = Callable[[float, str], Awaitable[None]]
"""Awaited with (fraction, phase) while a stage runs."""

_log = structlog.get_logger()

_FINGERPRINT_SECONDS = 30.0

_NOTICE_LENGTH = 500

_OPTIONAL_TARGETS = {"alpha_video_target"}


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """A stage's result; its blobs are in the account's store and carry no URL."""

    result: Result
    reused: bool
    fingerprint: str
    notice: str = ""
    """What the service said of how it made the result; nothing of one that is used again."""


@dataclass(frozen=True, slots=True)
class Work:
    """On whose behalf a stage runs, and whom it tells."""

    account: str
    session_id: str
    request_id: str
    progress: Progress


class _Absent(Unavailable):
    """A service that did not come for as long as we wait; there is no use in waiting again."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """One call to make."""

    service: str
    method: Any
    request: Message
    seconds: float
    salt: str

    @property
    def result_type(self) -> Any:
        return result_type(self.service, type(self.request).__name__)

    def digest(self, fingerprint: str) -> str:
        return stage_digest(self.service, fingerprint, self.request, self.salt)


@dataclass(slots=True)
class Stages:
    """The five services, as the gateway calls them.

    A result is kept under the digest of (account, method, engine fingerprint, request): looked up under the
    fingerprint that the service last advertised, kept under the one that came with the result.
    """

    settings: Settings
    store: Store
    blobs: BlobStore
    _channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    _fingerprints: dict[str, str] = field(default_factory=dict)
    _turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = field(default_factory=WeakValueDictionary)
    claims: Claims = field(init=False)
    _asked: dict[str, float] = field(default_factory=dict)
    """When each service was last asked for its fingerprint; monotonic seconds."""
    _tidying: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.claims = Claims(self.store.database, self.settings.executor_id)

    async def detect(self, work: Work, image: bytes, max_objects: int) -> Outcome[detect_pb2.DetectObjectsResult]:
        """The normalised photo and the proposals in it. The upload itself is not kept."""
        targets: list[str] = []

        def stage() -> blob_pb2.Blob:
            targets.append(self.blobs.new_target())
            return blob_pb2.Blob(url=self.blobs.stage(targets[0], image), sha256=sha256_hex(image), size=len(image))

        stub: Any = detect_pb2_grpc.DetectServiceStub(self._channel("detect"))
        staging = asyncio.create_task(self.blobs.run(stage))
        try:
            request = detect_pb2.DetectObjectsRequest(image=await asyncio.shield(staging), max_objects=max_objects)
            return await self._run(work, "detect", stub.DetectObjects, request, self.settings.init_seconds)
        finally:
            await self._tidy(staging, targets)

    async def segment(self, work: Work, request: segment_pb2.SegmentRequest) -> Outcome[segment_pb2.SegmentResult]:
        """The cut-out."""
        stub: Any = segment_pb2_grpc.SegmentServiceStub(self._channel("segment"))
        return await self._run(work, "segment", stub.Segment, request)

    async def build_scene(
        self, work: Work, request: background_pb2.BuildSceneRequest
    ) -> Outcome[background_pb2.BuildSceneResult]:
        """The scene; from a link each job makes its own, as who serves the link may have changed the picture."""
        stub: Any = background_pb2_grpc.BackgroundServiceStub(self._channel("background"))
        salt = work.request_id if request.backdrop.WhichOneof("kind") == "url" else ""
        return await self._run(work, "background", stub.BuildScene, request, salt=salt)

    async def compose(
        self, work: Work, request: background_pb2.ComposeRequest
    ) -> Outcome[background_pb2.ComposeResult]:
        """The still."""
        stub: Any = background_pb2_grpc.BackgroundServiceStub(self._channel("background"))
        return await self._run(work, "background", stub.Compose, request)

    async def reconstruct(
        self, work: Work, request: mesh3d_pb2.ReconstructRequest
    ) -> Outcome[mesh3d_pb2.ReconstructResult]:
        """The mesh."""
        stub: Any = mesh3d_pb2_grpc.Mesh3dServiceStub(self._channel("mesh3d"))
        return await self._run(work, "mesh3d", stub.Reconstruct, request)

    async def render(self, work: Work, request: render_pb2.RenderRequest) -> Outcome[render_pb2.RenderResult]:
        """The film."""
        stub: Any = render_pb2_grpc.RenderServiceStub(self._channel("render"))
        return await self._run(work, "render", stub.Render, request)

    async def close(self) -> None:
        """Close all channels, and finish tidying."""
        await asyncio.gather(*self._tidying, return_exceptions=True)
        for channel in self._channels.values():
            await channel.close()

    async def _run(
        self,
        work: Work,
        service: str,
        method: Any,
        request: Message,
        seconds: float | None = None,
        *,
        salt: str = "",
    ) -> Outcome[Any]:
        """Find the stage's result, or make it and keep it; one with a ``salt`` is kept for those who know it."""
        stage = _Stage(service, method, request, seconds or self.settings.stage_seconds, salt)
        with span(f"stage {service}.{type(request).__name__.removesuffix('Request')}") as told:
            begun = time.monotonic()
            outcome = await self._persist(work, stage)
            told.set_attributes({"lensora.reused": outcome.reused, "lensora.fingerprint": outcome.fingerprint})
        if outcome.reused:
            metrics.stages_reused.add(1, {"service": service})
        else:
            labels = {"service": service, "engine": outcome.result.engine.name}
            metrics.stage_seconds.record(time.monotonic() - begun, labels)
        return outcome

    async def _persist(self, work: Work, stage: _Stage) -> Outcome[Any]:
        """A service that goes away is asked again once it is back, after a pause that doubles."""
        for attempt in range(1, self.settings.stage_attempts):
            try:
                return await self._find_or_make(work, stage)
            except _Absent:
                raise
            except Unavailable as error:
                _log.warning("stage retried", stage=stage.service, reason=error.reason, attempt=attempt)
            pause = self.settings.retry_seconds * 2 ** (attempt - 1)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once
        return await self._find_or_make(work, stage)

    async def _find_or_make(self, work: Work, stage: _Stage) -> Outcome[Any]:
        digest = stage.digest(await self._fingerprint(stage.service))
        async with self._turns.setdefault((work.account, digest), asyncio.Lock()):  # who asks for the same waits for it
            kept = await self._find(work, stage, digest)
            if kept is not None:
                return kept
            await self._connect(stage.service)
            async with self.claims.held(work.account, digest):
                # another replica may have kept it since
                return await self._find(work, stage, digest) or await self._make_and_keep(work, stage)

    async def _make_and_keep(self, work: Work, stage: _Stage) -> Outcome[Any]:
        pin = uuid.uuid4().hex
        result, notice = await self._make(work, stage, pin)
        fingerprint = self._fingerprints[stage.service] = result.engine.fingerprint
        if notice:
            _log.warning("stage notice", stage=stage.service, notice=notice)
        blobs = {blob.sha256: blob.size for blob in find(result, blob_pb2.Blob)}
        await self.store.keep_stage_result(
            work.account,
            stage.digest(fingerprint),
            fingerprint,
            result.SerializeToString(),
            blobs,
            work.session_id,
            pin,
        )
        return Outcome(result, reused=False, fingerprint=fingerprint, notice=notice)

    async def _find(self, work: Work, stage: _Stage, digest: str) -> Outcome[Any] | None:
        kept = await self.store.stage_result(work.account, digest, work.session_id)
        if kept is None:
            return None
        result = stage.result_type.FromString(kept)
        whole = await self.blobs.run(self._all_there, work.account, result)
        return Outcome(result, reused=True, fingerprint=result.engine.fingerprint) if whole else None

    async def _make(self, work: Work, stage: _Stage, pin: str) -> tuple[Any, str]:
        """The result, and what the service said of it."""
        call = type(stage.request)()
        call.CopyFrom(stage.request)
        targets: list[str] = []
        aiming = asyncio.create_task(self.blobs.run(self._aim, work.account, call, targets))
        result: Any = None
        notices: list[str] = []
        try:
            await asyncio.shield(aiming)
            async with contextlib.aclosing(self._responses(work, stage, call, notices)) as responses:
                async for response in responses:
                    if response.WhichOneof("event") == "progress":
                        await work.progress(response.progress.fraction, response.progress.phase)
                    else:
                        result = response.result
            if result is None:
                raise Internal(f"{stage.service} ended without a result", reason="STAGE_PROTOCOL")
            await self.store.pin(work.account, pin, announced(result, targets))
            await self.blobs.run(self._publish, work.account, result, targets)
        finally:
            await self._tidy(aiming, targets)
        return result, "".join(notices)

    async def _tidy(self, aiming: asyncio.Task[Any], targets: list[str]) -> None:
        """Discard targets once the thread that makes them is done; who waits may be cancelled, and it goes on."""

        async def tidy() -> None:
            await asyncio.wait([aiming])
            for target in targets:
                await self.blobs.run(self.blobs.discard, target)

        task = asyncio.create_task(tidy())
        self._tidying.add(task)
        task.add_done_callback(self._tidying.discard)
        await asyncio.shield(task)

    async def _responses(
        self, work: Work, stage: _Stage, request: Message, notices: list[str]
    ) -> AsyncGenerator[Any, None]:
        metadata = tuple({REQUEST_ID: work.request_id, **outgoing()}.items())
        call = stage.method(request, timeout=stage.seconds, metadata=metadata)
        try:
            async for response in call:
                yield response
            notices += (str(value)[:_NOTICE_LENGTH] for key, value in await call.trailing_metadata() if key == NOTICE)
        except grpc.aio.AioRpcError as error:
            raise _explained(stage.service, error, stage.seconds) from error
        finally:
            call.cancel()  # one that was left in the middle would run on in the service

    async def _fingerprint(self, service: str) -> str:
        """The fingerprint last advertised; asked for again now and then, because services are upgraded under us."""
        asked = self._asked.get(service)
        if asked is None or time.monotonic() - asked > _FINGERPRINT_SECONDS:
            await self._connect(service)
            stub: Any = engine_pb2_grpc.EngineServiceStub(self._channel(service))
            try:
                answer = await stub.GetEngine(engine_pb2.GetEngineRequest(), timeout=_FINGERPRINT_SECONDS)
            except grpc.aio.AioRpcError as error:
                raise _gone(service) from error
            self._fingerprints[service], self._asked[service] = answer.engine.fingerprint, time.monotonic()
        return self._fingerprints[service]

    async def _connect(self, service: str) -> None:
        """Wait for a service that is starting, or starting again; nothing is lost by that, its work has not begun."""
        if self._channel(service).get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return
        try:
            # not wait_for: in Python 3.11 it swallows a cancel that comes together with the answer
            async with asyncio.timeout(self.settings.connect_seconds):
                await self._channel(service).channel_ready()
        except TimeoutError:
            raise _Absent(_gone(service).message, reason="STAGE_UNAVAILABLE") from None

    def _channel(self, service: str) -> grpc.aio.Channel:
        if service not in self._channels:
            self._channels[service] = open_service(service, *self.settings.way_to(service))
        return self._channels[service]

    def _aim(self, account: str, request: Any, targets: list[str]) -> None:
        """Give every input a URL to read, and every result one to write to, which is added to ``targets``.

        An optional result has one only where the request asks for it.
        """
        for blob in find(request, blob_pb2.Blob):
            if blob.WhichOneof("source") is None:
                blob.url = self.blobs.url(account, blob.sha256)
        for descriptor in request.DESCRIPTOR.fields:
            if descriptor.message_type is not blob_pb2.BlobTarget.DESCRIPTOR:
                continue
            if descriptor.name not in _OPTIONAL_TARGETS or request.HasField(descriptor.name):
                targets.append(self.blobs.new_target())
                getattr(request, descriptor.name).url = targets[-1]

    def _publish(self, account: str, result: Message, targets: list[str]) -> None:
        """Take the result's bytes into the account; afterwards its blobs are bare references."""
        for blob in find(result, blob_pb2.Blob):
            if blob.WhichOneof("source") == "inline":
                if (blob.sha256, blob.size) != (sha256_hex(blob.inline), len(blob.inline)):
                    raise Internal("a stage returned other bytes than it announced", reason="BLOB_DIGEST")
                self.blobs.put(account, blob.inline)
            elif blob.url in targets:
                self.blobs.publish(account, blob.url, blob.sha256, blob.size)
            else:
                raise Internal("a stage returned a blob that was not asked for", reason="STAGE_PROTOCOL")
            blob.ClearField("source")

    def _all_there(self, account: str, result: Message) -> bool:
        return all(self.blobs.exists(account, blob.sha256) for blob in find(result, blob_pb2.Blob))


def _explained(service: str, error: grpc.aio.AioRpcError, seconds: float) -> Exception:
    """The service's own error, or, when it is gone or late, one that says which service."""
    told = from_rpc(error)
    if isinstance(told, DeadlineExceeded) and told.reason == DeadlineExceeded.default_reason:
        return DeadlineExceeded(f"the {service} service was not done within {seconds:g} s", reason="STAGE_TIMED_OUT")
    if isinstance(told, Unavailable) and told.reason == Unavailable.default_reason:
        return _gone(service)
    return told


def _gone(service: str) -> Unavailable:
    return Unavailable(f"the {service} service went away or does not answer", reason="STAGE_UNAVAILABLE")
