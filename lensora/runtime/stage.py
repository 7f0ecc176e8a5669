"""What the five servicers share: blobs in and out, and the stream of progress that ends with one result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import structlog
from opentelemetry import metrics

from lensora.core.blobs import INLINE_LIMIT, BlobAccess, sha256_hex
from lensora.core.engines import Made
from lensora.core.errors import InvalidArgument, ResourceExhausted
from lensora.runtime.runners import EngineId, Runner
from lensora.type.v1 import blob_pb2, engine_pb2, progress_pb2

Response = TypeVar("Response")

NOTICE = "x-lensora-notice"
"""Trailing metadata of a call whose result another engine made than the settings name: ``fallback; reason=…``."""

_log = structlog.get_logger()
_fallbacks = metrics.get_meter("lensora.runtime").create_counter(
    "lensora.engine.fallback",
    unit="{result}",
    description="Results that another engine made because the chosen one could not, by both engines and the reason.",
)


async def _always() -> None:
    """Nothing is ever wrong."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One engine behind one servicer."""

    runner: Runner
    blobs: BlobAccess
    require_fit: Callable[[], Awaitable[None]] = _always
    """Raises what the service cannot work with just now."""

    def read(self, blob: blob_pb2.Blob, field: str) -> bytes:
        """The blob's bytes, digest checked; blocks, so call it from ``decode`` only.

        Raises:
            InvalidArgument: empty, not what it says it is, or outside the service's prefix.
        """
        match blob.WhichOneof("source"):
            case "inline":
                if len(blob.inline) > INLINE_LIMIT:
                    raise InvalidArgument.of(f"{field}.inline", f"at most {INLINE_LIMIT} bytes; use a url")
                if blob.sha256 and sha256_hex(blob.inline) != blob.sha256:
                    raise InvalidArgument.of(field, "the inline bytes differ from their sha256", reason="BLOB_DIGEST")
                return blob.inline
            case "url":
                return self.blobs.read(blob.url, blob.sha256, blob.size, field)
            case _:
                raise InvalidArgument.of(field, "required: inline bytes or a url")

    def write(self, data: bytes, media_type: str, target: blob_pb2.BlobTarget, field: str) -> blob_pb2.Blob:
        """Hand a result out: inline when small, else to its target; blocks, so call it from ``encode`` only.

        Raises:
            InvalidArgument: too large to inline and no target given.
            ResourceExhausted: more than the target takes, or the store takes no more.
        """
        blob = blob_pb2.Blob(sha256=sha256_hex(data), size=len(data), media_type=media_type)
        if len(data) <= INLINE_LIMIT:
            blob.inline = data
            return blob
        if not target.url:
            raise InvalidArgument.of(field, f"required: the result has {len(data)} bytes, too many to return inline")
        if 0 < target.max_bytes < len(data):
            raise ResourceExhausted(f"{field}: the result has {len(data)} bytes, the target takes {target.max_bytes}")
        self.blobs.write(target.url, data, field)
        blob.url = target.url
        return blob

    def _told(self, made: Any, context: grpc.aio.ServicerContext[Any, Any]) -> tuple[Any, EngineId]:
        """The bare result and who made it; whoever stood in for another is never silent about it."""
        engine = self.runner.engine
        if not isinstance(made, Made):
            return made, engine
        maker = EngineId(engine.service, made.name, made.version)
        if made.instead_of:
            told = {"service": engine.service, "engine": made.instead_of, "by": made.name, "reason": made.reason}
            _fallbacks.add(1, told)
            _log.warning("fallback", **{key: value for key, value in told.items() if key != "service"})
            context.set_trailing_metadata(((NOTICE, f"fallback; reason={made.reason}; by={maker.fingerprint}"),))
        return made.result, maker

    async def stream(
        self,
        context: grpc.aio.ServicerContext[Any, Any],
        response: Callable[..., Response],
        decode: Callable[[], Any],
        encode: Callable[[Any, engine_pb2.EngineInfo], Any],
    ) -> AsyncIterator[Response]:
        """Run one call: ``decode`` → engine → ``encode``, all off the event loop, with progress on the way.

        A service that is not fit to work refuses first.

        Args:
            context: of the call; its deadline is the engine's.
            response: the response message's class, which has ``progress`` and ``result``.
            decode: makes the engine's request.
            encode: makes the result message from the engine's result.
        """
        remaining = context.time_remaining()
        deadline = None if remaining is None else time.monotonic() + remaining
        latest: list[progress_pb2.Progress] = []
        furthest = 0.0
        news = asyncio.Event()

        def report(fraction: float, phase: str) -> None:
            # only the newest report matters to a slow reader, but a change of phase must be seen; a run that begins
            # again after a crash does not fall back
            nonlocal furthest
            furthest = max(furthest, fraction)
            progress = progress_pb2.Progress(fraction=furthest, phase=phase)
            if latest and latest[-1].phase == phase:
                latest[-1] = progress
            else:
                latest.append(progress)
            news.set()

        async def work() -> Any:
            await self.require_fit()
            request = await asyncio.to_thread(decode)
            result, maker = self._told(await self.runner.run(request, report, deadline), context)
            return await asyncio.to_thread(encode, result, engine_info(maker))

        task = asyncio.create_task(work())
        task.add_done_callback(lambda _: news.set())
        try:
            while not task.done() or latest:
                await news.wait()
                news.clear()
                while latest:
                    yield response(progress=latest.pop(0))
            yield response(result=await task)
        finally:
            await _end(task)


async def _end(task: asyncio.Task[Any]) -> None:
    """Cancel and wait, so that no call leaves work behind."""
    task.cancel()
    await asyncio.wait([task])


def engine_info(engine: EngineId) -> engine_pb2.EngineInfo:
    """The proto form of an engine's name."""
    return engine_pb2.EngineInfo(
        service=engine.service, name=engine.name, version=engine.version, fingerprint=engine.fingerprint
    )
