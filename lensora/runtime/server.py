"""One service process: load the engine, serve, and stop without dropping what runs."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from lensora.core import models
from lensora.core.blobs import BlobAccess
from lensora.core.errors import LensoraError, Unavailable
from lensora.runtime import tls
from lensora.runtime.fitness import Fitness
from lensora.runtime.interceptors import Border
from lensora.runtime.process import die_with_parent
from lensora.runtime.runners import Runner
from lensora.runtime.settings import ServiceSettings
from lensora.runtime.stage import Stage, engine_info
from lensora.runtime.telemetry import configure_export, configure_logs
from lensora.type.v1 import engine_pb2, engine_pb2_grpc

SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a taken port is an error, not a second listener
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.max_send_message_length", 32 * 1024 * 1024),
    # a caller is asked for no more than this ahead of what was read; gRPC else widens it to megabytes a stream
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 256 * 1024),
)

LIVENESS = "liveness"
"""Serves for as long as the process answers, also while it drains or is unfit: for who would kill it otherwise."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Service:
    """What makes one service different from another, as its ``__main__`` wires it."""

    name: str
    """Full proto name, e.g. ``lensora.detect.v1.DetectService``."""

    add_to_server: Callable[[Any, grpc.aio.Server], None]
    servicer: Callable[[Stage], Any]
    runner: Runner


class _EngineServicer(engine_pb2_grpc.EngineServiceServicer):
    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def GetEngine(
        self, request: engine_pb2.GetEngineRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> engine_pb2.GetEngineResponse:
        return engine_pb2.GetEngineResponse(engine=engine_info(self._runner.engine))


class _Health(health_aio.HealthServicer):
    """Whose watches end when the server does, which else would wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End all watches."""
        self._closed.set()

    async def Watch(self, request: Any, context: Any) -> None:
        both = [asyncio.ensure_future(super().Watch(request, context)), asyncio.ensure_future(self._closed.wait())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if both[0].done():
                both[0].result()
        finally:
            for one in both:
                one.cancel()
            await asyncio.wait(both)


class Listener:
    """A gRPC server with health and reflection, for a stage service or the gateway."""

    def __init__(
        self,
        listen: str,
        names: list[str],
        border: Border | None = None,
        *,
        certificates: Path | None = None,
        health_listen: str = "",
    ) -> None:
        """Take the ports; see ``ServiceSettings`` for the arguments.

        Raises:
            Unavailable: a port is taken.
            InvalidArgument: the certificates cannot be used.
        """
        self._border = border or Border()
        self.server = grpc.aio.server(interceptors=[self._border], options=SERVER_OPTIONS)
        self.health = _Health()
        self._names = names
        self._open, self._fit = False, True
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        reflection.enable_server_reflection(
            [*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME], self.server
        )
        self.address = _bind(self.server, listen, tls.server_credentials(certificates) if certificates else None)
        self._probes = grpc.aio.server(options=SERVER_OPTIONS) if health_listen else None
        self.health_address = ""
        if self._probes is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self.health, self._probes)
            self.health_address = _bind(self._probes, health_listen, None)

    async def start(self) -> None:
        """Accept calls, and health checks on the port for probes."""
        await self.health.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        if self._probes is not None:
            await self._probes.start()
        await self.server.start()

    async def set_serving(self, *, serving: bool) -> None:
        """Answer health checks of every name with SERVING, if it is also fit, or with NOT_SERVING."""
        self._open = serving
        status = health_pb2.HealthCheckResponse
        for name in ("", *self._names):
            await self.health.set(name, status.SERVING if self._open and self._fit else status.NOT_SERVING)

    async def set_fit(self, fit: bool) -> None:  # noqa: FBT001 - what ``Fitness`` tells
        """Answer health checks with NOT_SERVING while it is not fit."""
        self._fit = fit
        await self.set_serving(serving=self._open)

    async def serve_until_signal(
        self,
        drain_seconds: float,
        also_drain: Callable[[], Awaitable[None]] | None = None,
        notice_seconds: float | None = None,
    ) -> None:
        """Serve until SIGTERM or SIGINT, then drain: NOT_SERVING, new calls go elsewhere, the others finish, stop.

        Args:
            drain_seconds: how long calls may take to finish.
            also_drain: awaited meanwhile; for what the process serves beside gRPC.
            notice_seconds: how long new calls are still taken, unless it is idle before; all the time by default.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await self.set_serving(serving=True)
        _log.info("ready", address=self.address)
        await stop.wait()
        _log.info("draining", seconds=drain_seconds)
        beside = asyncio.ensure_future(also_drain()) if also_drain else None
        drained = await self.drain(drain_seconds, drain_seconds if notice_seconds is None else notice_seconds)
        if beside is not None:
            await beside
        await self.stop()
        _log.info("stopped", drained=drained)

    async def drain(self, seconds: float, notice_seconds: float) -> bool:
        """Stop for good: NOT_SERVING, later GOAWAY, by which callers know that a call was not begun and go elsewhere.

        Returns:
            Whether all calls ended by themselves. Health watchers, which never would, are ended and not counted.
        """
        begun = time.monotonic()
        await self.set_serving(serving=False)
        await self._border.wait_idle(min(seconds, notice_seconds))
        self.health.close()
        left = max(0.0, seconds - (time.monotonic() - begun))
        closing = asyncio.ensure_future(self.server.stop(left))  # it also knows of calls that have yet to reach us
        drained = await self._border.wait_idle(left)
        await closing
        return drained

    async def stop(self) -> None:
        """Close both ports now."""
        await self.server.stop(0)
        if self._probes is not None:
            await self._probes.stop(0)


def _bind(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None) -> str:
    """Take the port; returns its address."""
    host, _, _ = listen.rpartition(":")
    try:
        port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    except RuntimeError as error:
        raise Unavailable(f"cannot listen on {listen}: is something else there?", reason="ADDRESS_IN_USE") from error
    return f"{host}:{port}"


async def _serve(service: Service, settings: ServiceSettings) -> None:
    listener = Listener(
        settings.listen,
        [service.name, "lensora.type.v1.EngineService"],
        certificates=settings.certificates,
        health_listen=settings.health_listen,
    )
    blobs = BlobAccess(settings.blob_prefix)
    fitness = Fitness(partial(_check, blobs, service.runner), listener.set_fit, settings.check_seconds)
    stage = Stage(service.runner, blobs, fitness.require)
    service.add_to_server(service.servicer(stage), listener.server)
    engine_pb2_grpc.add_EngineServiceServicer_to_server(_EngineServicer(service.runner), listener.server)
    watch = asyncio.create_task(fitness.watch())
    try:
        await service.runner.start()
        await asyncio.to_thread(blobs.create)
        await fitness.look()
        await listener.start()  # not before: a caller that waits for ready must meet a loaded engine
        await listener.serve_until_signal(settings.drain_seconds, notice_seconds=settings.notice_seconds)
    finally:
        watch.cancel()
        await service.runner.stop()
        await listener.stop()


def _check(blobs: BlobAccess, runner: Runner) -> None:
    """All that a service stands on and may lose while it runs."""
    blobs.check()
    models.check_opened()
    runner.check()


def run_process(main: Callable[[], Any], name: str, *, level: str, log_format: str, with_parent: bool) -> int:
    """Run a process's async ``main``; a typed error becomes one log line and exit status 1."""
    if with_parent:
        die_with_parent()
    configure_logs(name, level=level, log_format=log_format)
    flush = configure_export(name)
    try:
        asyncio.run(main())
    except (LensoraError, TimeoutError) as error:
        _log.error("cannot start", message=str(error), reason=getattr(error, "reason", "TIMEOUT"))
        return 1
    finally:
        flush()
    return 0


def serve(service: Service, settings: ServiceSettings) -> int:
    """Run one stage service until it is told to stop; returns the exit status."""
    return run_process(
        lambda: _serve(service, settings),
        service.name.split(".")[1],
        level=settings.log_level,
        log_format=settings.log_format,
        with_parent=settings.die_with_parent,
    )
