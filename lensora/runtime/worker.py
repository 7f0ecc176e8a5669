"""Runs an engine in one spawned process, because native code can only be stopped by ending its process.

The worker is killed on cancel, at the deadline, when it reports nothing for ``stall_seconds``, and when it grows past
``memory_limit_mb``; another is started at once. An input that kills two workers is refused for good.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import structlog
from pydantic import Field

from lensora.core import engines
from lensora.core.errors import DeadlineExceeded, FailedPrecondition, Internal, LensoraError, Unavailable
from lensora.runtime.process import die_with_parent
from lensora.runtime.runners import EngineId, Progress, StopFlag
from lensora.runtime.settings import ServiceSettings
from lensora.runtime.telemetry import configure_logs

_log = structlog.get_logger()
_PAGE = 4096
_WATCH_SECONDS = 0.5
_CHECK_SECONDS = 10.0
_CHECK = None
"""Sent instead of a request: say whether the engine could work, and in which version."""


class WorkerSettings(ServiceSettings):
    """Settings of the services that run their engine in a worker process."""

    memory_limit_mb: int = Field(default=2048, ge=64)
    """Resident megabytes at which the worker is killed (an address-space limit kills the GL driver silently)."""

    stall_seconds: float = Field(default=30.0, gt=0)
    """A run that reports no progress for so long is killed."""

    start_seconds: float = Field(default=60.0, gt=0)
    """How long a worker may take to load its engine."""


class WorkerDied(LensoraError):
    """The worker process ended in the middle of a run."""

    default_reason = "WORKER_DIED"


def _serve(connection: Connection, service: str, package: str, settings: WorkerSettings) -> None:
    """The worker's main loop: one request at a time, until the pipe closes."""
    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    configure_logs(service, level=settings.log_level, log_format=settings.log_format)
    try:
        engine = engines.load(package, settings.engine, settings)
    except LensoraError as error:
        connection.send(("error", error))
        return
    connection.send(("ready", (engine.name, engine.version, isinstance(engine, engines.Checked))))
    while True:
        try:
            request, deadline = connection.recv()
        except EOFError:
            return
        flag = StopFlag(lambda fraction, phase: connection.send(("progress", (fraction, phase))), deadline)
        try:
            if request is not _CHECK:
                connection.send(("result", engine.run(request, flag)))
            elif isinstance(engine, engines.Checked):
                engine.check()
                connection.send(("result", engine.version))
        except LensoraError as error:
            connection.send(("error", error))
        except Exception as error:  # noqa: BLE001 - the border of a process: nothing may pass it but messages
            _log.error("engine", exc_info=error)
            connection.send(("error", Internal("the engine failed unexpectedly; see the service's log")))


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, service: str, package: str, settings: WorkerSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, service, package, settings), daemon=True)
        self._process.start()
        theirs.close()
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Feed the event loop from the pipe; ends with the worker."""
        while True:
            try:
                message = self._connection.recv()
            except Exception as error:  # noqa: BLE001 - unpickling runs what the worker sent; whatever fails, tell
                if not isinstance(error, EOFError | OSError):
                    _log.error("worker message", exc_info=error)
                message = ("died", None)
            try:
                self._loop.call_soon_threadsafe(self._messages.put_nowait, message)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return
            if message[0] == "died":
                return

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    async def send(self, request: Any, deadline: float | None) -> None:
        try:
            await asyncio.to_thread(self._connection.send, (request, deadline))
        except OSError as error:
            raise WorkerDied("the worker process ended before it took the request") from error

    async def receive(self, seconds: float) -> tuple[str, Any]:
        """Next message.

        Raises:
            TimeoutError: none came in ``seconds``.
            LensoraError: what the worker raised, or ``WorkerDied``.
        """
        async with asyncio.timeout(seconds):
            kind, value = await self._messages.get()
        if kind == "error":
            raise value
        if kind == "died":
            raise WorkerDied("the worker process ended in the middle of the work")
        return kind, value

    def resident_mb(self) -> float:
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0
        return pages * _PAGE / 1e6

    def kill(self) -> None:
        self._process.kill()
        self._process.join(1.0)
        self._reader.join(1.0)  # it must not read from a file that was closed, and perhaps opened by another
        self._connection.close()


class ProcessRunner:
    """See the module's docstring; one run at a time, the others wait in line."""

    def __init__(self, service: str, settings: WorkerSettings, package: str | None = None) -> None:
        self._service, self._settings = service, settings
        self._package = package or f"services.{service}.engines"
        self._turn = asyncio.Lock()
        self._worker: _Worker | None = None
        self._engine: EngineId | None = None
        self._starting: asyncio.Task[None] | None = None
        self._stopped = False
        self._is_checked = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def engine(self) -> EngineId:
        """See ``Runner``."""
        if self._engine is None:
            raise Unavailable("the engine is still loading", reason="ENGINE_LOADING")
        return self._engine

    async def start(self) -> None:
        """See ``Runner``."""
        self._loop = asyncio.get_running_loop()
        worker = _Worker(self._service, self._package, self._settings)
        try:
            _, (name, version, self._is_checked) = await worker.receive(self._settings.start_seconds)
            if self._stopped:
                raise Unavailable("the service is stopping", reason="STOPPING")
        except (TimeoutError, WorkerDied) as error:
            worker.kill()
            raise Unavailable(
                f"the {self._service} engine's process ended or took over {self._settings.start_seconds:g} s to load",
                reason="ENGINE_NOT_LOADED",
            ) from error
        except BaseException:
            worker.kill()
            raise
        self._worker, self._engine = worker, EngineId(self._service, name, version)

    async def run(self, request: Any, progress: Progress, deadline: float | None) -> Any:
        """See ``Runner``.

        Raises:
            FailedPrecondition: reason ``INPUT_CRASHES_STAGE``: two workers died of this input.
        """
        async with self._turn:
            for _ in range(2):
                try:
                    return await self._run_once(request, progress, deadline)
                except WorkerDied as error:
                    _log.warning("worker died", engine=self._settings.engine, message=error.message)
            raise FailedPrecondition(
                f"this input ends the {self._service} engine's process; it was tried twice and will not be tried again",
                reason="INPUT_CRASHES_STAGE",
            )

    async def _run_once(self, request: Any, progress: Progress, deadline: float | None) -> Any:
        worker = await self._living_worker()
        try:
            await worker.send(request, deadline)
            return await self._await_result(worker, progress, deadline)
        except (asyncio.CancelledError, TimeoutError, WorkerDied, DeadlineExceeded):
            self._replace(worker)
            raise

    async def _await_result(self, worker: _Worker, progress: Progress, deadline: float | None) -> Any:
        heard = time.monotonic()
        while True:
            try:
                kind, value = await worker.receive(_WATCH_SECONDS)
            except TimeoutError:
                now = time.monotonic()
                if deadline is not None and now > deadline:
                    raise DeadlineExceeded(f"{self._service} ran out of time") from None
                if now - heard > self._settings.stall_seconds:
                    raise DeadlineExceeded(
                        f"{self._service} reported nothing for {self._settings.stall_seconds:g} s",
                        reason="STAGE_STALLED",
                    ) from None
            else:
                heard = time.monotonic()
                if kind == "result":
                    return value
                progress(*value)
            if worker.resident_mb() > self._settings.memory_limit_mb:
                raise WorkerDied(f"the worker grew past {self._settings.memory_limit_mb} MB")

    async def _living_worker(self) -> _Worker:
        if self._starting is not None:
            await asyncio.shield(self._starting)
        if self._stopped:
            raise Unavailable("the service is stopping", reason="STOPPING")
        if self._worker is None or not self._worker.alive:
            await self.start()
        assert self._worker is not None  # noqa: S101 - start() sets it or raises
        return self._worker

    def _replace(self, worker: _Worker) -> None:
        """Kill the worker now; its successor loads in the background, so that the next run need not wait."""
        worker.kill()
        self._worker = None
        if not self._stopped:
            self._starting = asyncio.create_task(self._restart())

    async def _restart(self) -> None:
        try:
            await self.start()
        except LensoraError as error:
            _log.error("worker start", exc_info=error)  # the next run tries again, and raises what it meets
        finally:
            self._starting = None

    def check(self) -> None:
        """See ``Runner``; a worker that is at work, or being replaced, is taken to be well."""
        if self._is_checked and self._loop is not None and not self._turn.locked():
            asyncio.run_coroutine_threadsafe(self._check(), self._loop).result(2 * _CHECK_SECONDS)

    async def _check(self) -> None:
        async with self._turn:
            worker = self._worker
            if worker is None or not worker.alive:
                return
            try:
                await worker.send(_CHECK, None)
                _, version = await worker.receive(_CHECK_SECONDS)
                # an engine that asks models elsewhere knows their versions only now
                self._engine = EngineId(self._service, self.engine.name, version)
            except (asyncio.CancelledError, TimeoutError, WorkerDied) as error:
                self._replace(worker)
                if isinstance(error, asyncio.CancelledError):
                    raise

    async def stop(self) -> None:
        """See ``Runner``."""
        self._stopped = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
