"""The client for programs without an event loop: the same, awaited in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack

from lensora.client.aio import DEFAULT_URL, AsyncJob, AsyncSession, AsyncStudio
from lensora.client.values import (
    Artifact,
    ArtifactKind,
    JobEvent,
    OrderOptions,
    Result,
    Source,
)

Value = TypeVar("Value")

_TIDY_SECONDS = 5.0


class _Loop:
    """An event loop in a thread, for callers who have none, or one that they must not block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lensora-client", daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, Value]) -> Value:
        """What the work returns; whoever is interrupted while waiting takes the work with them."""
        ended = threading.Event()

        async def whole() -> Value:
            try:
                return await work
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(whole(), self._loop)
        try:
            return future.result()
        except BaseException:
            if future.cancel():
                ended.wait(_TIDY_SECONDS)
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Studio:
    """See ``AsyncStudio``. Use it in ``with``, or ``close`` it; any thread may call."""

    def __init__(self, key: str = "", url: str = DEFAULT_URL, *, timeout: float = 60.0, patience: float = 60.0) -> None:
        self._loop = _Loop()
        try:
            self._studio = self._loop.wait(_opened(key, url, timeout, patience))
        except BaseException:
            self._loop.close()
            raise

    def init(self, photo: Source, *, max_objects: int | None = None, idempotency_key: str = "") -> Session:
        """See ``AsyncStudio.init``."""
        work = self._studio.init(photo, max_objects=max_objects, idempotency_key=idempotency_key)
        return Session(self._loop, self._loop.wait(work))

    def job(self, job_id: str) -> Job:
        """A job that was started before."""
        return Job(self._loop, self._studio.job(job_id))

    def close(self) -> None:
        """Close the connections."""
        self._loop.wait(self._studio.close())
        self._loop.close()

    def __enter__(self) -> Studio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Session:
    """See ``AsyncSession``.

    Attributes:
        info: what is in the photo.
    """

    def __init__(self, loop: _Loop, session: AsyncSession) -> None:
        self._loop, self._session, self.info = loop, session, session.info

    def transform(self, *, idempotency_key: str = "", **order: Unpack[OrderOptions]) -> Job:
        """See ``AsyncSession.transform``."""
        work = self._session.transform(idempotency_key=idempotency_key, **order)
        return Job(self._loop, self._loop.wait(work))

    def delete(self) -> None:
        """See ``AsyncSession.delete``."""
        self._loop.wait(self._session.delete())


class Job:
    """See ``AsyncJob``.

    Attributes:
        job_id: a UUID.
    """

    def __init__(self, loop: _Loop, job: AsyncJob) -> None:
        self._loop, self._job, self.job_id = loop, job, job.job_id

    def status(self) -> Result:
        """See ``AsyncJob.status``."""
        return self._loop.wait(self._job.status())

    def watch(self, after: int = 0) -> Iterator[JobEvent]:
        """See ``AsyncJob.watch``."""
        events = self._job.watch(after)
        try:
            while (event := self._loop.wait(_next(events))) is not None:
                yield event
        finally:
            self._loop.wait(events.aclose())

    def result(self) -> Result:
        """See ``AsyncJob.result``."""
        return self._loop.wait(self._job.result())

    def cancel(self) -> Result:
        """See ``AsyncJob.cancel``."""
        return self._loop.wait(self._job.cancel())

    def download(self, kind: ArtifactKind, path: str | Path) -> Artifact:
        """See ``AsyncJob.download``."""
        return self._loop.wait(self._job.download(kind, path))


async def _opened(key: str, url: str, timeout: float, patience: float) -> AsyncStudio:  # noqa: ASYNC109
    """Made inside the loop that it is to run in, as gRPC wants it."""
    return AsyncStudio(key, url, timeout=timeout, patience=patience)


async def _next(events: Any) -> JobEvent | None:
    return await anext(events, None)
