"""The client, to be awaited. All that it decides is decided here; ``sync`` only waits, transports only translate."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Unpack
from urllib.parse import urlsplit

from lensora.client.downloads import download
from lensora.client.grpc import GrpcTransport
from lensora.client.http import HttpTransport
from lensora.client.retry import Patience, patiently
from lensora.client.transport import Transport, reopening
from lensora.client.values import (
    TERMINAL,
    Artifact,
    ArtifactKind,
    JobEvent,
    JobFailed,
    Order,
    OrderOptions,
    Result,
    SessionInfo,
    Source,
)
from lensora.core.errors import InvalidArgument, LensoraError, NotFound

DEFAULT_URL = "http://127.0.0.1:8080"


class AsyncStudio:
    """A studio, as its callers see it. Use it in ``async with``, or ``close`` it.

    Args:
        key: API key; none where the studio asks for none.
        url: ``http(s)://host:port`` or ``grpc(s)://host:port``.
        timeout: seconds that one call may take; following a job and downloading may take longer as long as they move.
        patience: seconds for which to try again what is safe to repeat, when the studio is busy or away; 0 is one try.

    Raises:
        InvalidArgument: field ``url`` or ``key``.
    """

    def __init__(self, key: str = "", url: str = DEFAULT_URL, *, timeout: float = 60.0, patience: float = 60.0) -> None:
        self.transport = _transport(key, url, timeout)
        self.patience = patience

    async def init(self, photo: Source, *, max_objects: int | None = None, idempotency_key: str = "") -> AsyncSession:
        """Upload a photo; 5 credits.

        Args:
            photo: JPEG, PNG or WebP, at most 20 MB.
            max_objects: 2 to 8; 6 unless said.
            idempotency_key: calls with the same one make one session; one is made up if none is given.

        Raises:
            LensoraError: what the studio said.
        """
        opened, key = reopening(photo, "image"), idempotency_key or uuid.uuid4().hex

        async def once() -> SessionInfo:
            with opened() as file:
                return await self.transport.init(file, max_objects, key)

        return AsyncSession(self, await patiently(once, self.patience))

    def job(self, job_id: str) -> AsyncJob:
        """A job that was started before."""
        return AsyncJob(self, job_id)

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()

    async def __aenter__(self) -> AsyncStudio:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncSession:
    """A photo that was uploaded.

    Attributes:
        info: what is in it.
    """

    def __init__(self, studio: AsyncStudio, info: SessionInfo) -> None:
        self._studio, self.info = studio, info

    async def transform(self, *, idempotency_key: str = "", **order: Unpack[OrderOptions]) -> AsyncJob:
        """Start a job; 75 credits, kept only if it succeeds.

        Args:
            idempotency_key: calls with the same one make one job; one is made up if none is given.
            order: the fields of ``lensora.client.values.Order``.

        Raises:
            LensoraError: what the studio said.
        """
        wanted, key = Order(**order), idempotency_key or uuid.uuid4().hex
        transport, session_id = self._studio.transport, self.info.session_id
        job_id = await patiently(lambda: transport.transform(session_id, wanted, key), self._studio.patience)
        return AsyncJob(self._studio, job_id)

    async def delete(self) -> None:
        """Cancel what still runs, and remove the photo and all that was made of it.

        Raises:
            LensoraError: what the studio said; ``NotFound`` where it is gone already.
        """
        transport, session_id, tries = self._studio.transport, self.info.session_id, itertools.count()

        async def once() -> None:
            again = next(tries) > 0
            try:
                await transport.delete(session_id)
            except NotFound:
                if not again:
                    raise  # else the first try's answer was lost, and not its work

        await patiently(once, self._studio.patience)


class AsyncJob:
    """A job, wherever it stands.

    Attributes:
        job_id: a UUID.
    """

    def __init__(self, studio: AsyncStudio, job_id: str) -> None:
        self._studio, self.job_id = studio, job_id
        self._transport, self._patience = studio.transport, studio.patience
        self._ended: Result | None = None

    async def status(self) -> Result:
        """The job as it is now."""
        return await patiently(lambda: self._transport.job(self.job_id), self._patience)

    async def watch(self, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        """The job's events after number ``after``, each once and in order, across lost connections."""
        patience = Patience(self._patience)
        while True:
            try:
                async with contextlib.aclosing(self._transport.events(self.job_id, after)) as events:
                    async for told in events:
                        patience.renew()
                        if told is None:
                            continue
                        event, result = told
                        after, self._ended = event.seq, result or self._ended
                        yield event
                        if event.status in TERMINAL:
                            return
                return
            except LensoraError as error:
                await patience.after(error)

    async def result(self) -> Result:
        """The job once it has succeeded; waits for that.

        Raises:
            JobFailed: it failed or was cancelled.
        """
        if self._ended is None:
            async for _ in self.watch():
                pass
        ended = self._ended or await self.status()
        if ended.status != "succeeded":
            raise JobFailed.of(ended)
        return ended

    async def cancel(self) -> Result:
        """Stop the job's work and have its credits back; harmless on a job that has ended."""
        return await patiently(lambda: self._transport.cancel(self.job_id), self._patience)

    async def download(self, kind: ArtifactKind, path: str | Path) -> Artifact:
        """Write an artifact of a job that succeeded to ``path``, whole and checked or not at all.

        Raises:
            FailedPrecondition: reason ``JOB_NOT_SUCCEEDED``.
            NotFound: reason ``ARTIFACT_NOT_ASKED_FOR``: the film with alpha of a job with another background.
            OSError: ``path`` cannot be written.
        """
        return await download(self._transport, self.job_id, kind, Path(path), Patience(self._patience))


def _transport(key: str, url: str, timeout: float) -> Transport:
    if not (key.isascii() and key.isprintable()):
        raise InvalidArgument.of("key", "plain ASCII, as `lensora keys create` printed it")
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.netloc:
        return HttpTransport(key, url, timeout)
    if parts.scheme in ("grpc", "grpcs") and parts.netloc:
        return GrpcTransport(key, parts.netloc, timeout, secure=parts.scheme == "grpcs")
    raise InvalidArgument.of("url", f"http(s)://host:port or grpc(s)://host:port, not {url!r}")
