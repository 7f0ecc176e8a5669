"""Gateways and services as processes that can be killed, on one database and one blob folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from lensora.core.blobs import file_url
from lensora.runtime.channels import open_channel, wait_serving
from lensora.studio.v1 import studio_pb2, studio_pb2_grpc
from lensora.type.v1 import scene_pb2

SERVICES = ("detect", "segment", "background", "mesh3d", "render")
LEASE_SECONDS = 10.0
_SECONDS = 60.0


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass(slots=True)
class Process:
    """A process that may be killed and started again, at the same address."""

    command: list[str]
    environment: dict[str, str]
    log: Path
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                self.command, env=os.environ | self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    async def stop(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end."""
        if self.running is not None:
            self.running.send_signal(number)
            await asyncio.to_thread(self.running.wait)
            self.running = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self.running is None:
            raise RuntimeError("not running")
        return self.running.pid


@dataclass(slots=True)
class World:
    """All processes of one experiment."""

    home: Path
    services: Process
    gateways: list[Process]
    addresses: list[str]
    """Of the gateways."""
    calls: Path
    """The services' log of what they were asked to do."""
    _channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)

    def stub(self, number: int = 0) -> Any:
        """A client of one gateway."""
        address = self.addresses[number]
        if address not in self._channels:
            self._channels[address] = open_channel(address)
        return studio_pb2_grpc.StudioServiceStub(self._channels[address])

    async def ready(self, number: int = 0, seconds: float = 60.0) -> None:
        """Wait until a gateway serves."""
        async with open_channel(self.addresses[number]) as channel:
            await wait_serving(channel, seconds)

    async def close(self) -> None:
        """Kill everything."""
        for channel in self._channels.values():
            await channel.close()
        for process in (*self.gateways, self.services):
            await process.stop(signal.SIGKILL)


@contextlib.asynccontextmanager
async def running(
    home: Path, *, database_url: str = "", gateways: int = 1, seconds: float = 0.0, **settings: Any
) -> AsyncIterator[World]:
    """Services and gateways that serve; ``settings`` are the gateways'."""
    *service_ports, first = free_ports(len(SERVICES) + 1)
    ports = [first, *free_ports(gateways - 1)]
    calls, blobs = home / "calls.log", home / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    ours = {"PYTHONPATH": os.getcwd(), "GRPC_VERBOSITY": "NONE"}  # noqa: PTH109 - as given, not resolved
    services = Process(
        [sys.executable, "-m", "bench.gateway.services", file_url(blobs) + "/", str(calls), *map(str, service_ports)],
        ours | {"SCRIPTED_SECONDS": str(seconds)},
        home / "services.log",
    )
    common = {
        "GATEWAY_HOME": str(home),
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_DIE_WITH_PARENT": "true",
        "GATEWAY_LOG_LEVEL": "warning",
        "GATEWAY_LEASE_SECONDS": str(LEASE_SECONDS),
        **{f"GATEWAY_{s.upper()}_TARGET": f"127.0.0.1:{p}" for s, p in zip(SERVICES, service_ports, strict=True)},
        **{f"GATEWAY_{name.upper()}": str(value) for name, value in settings.items()},
    }
    members = [
        Process(
            [sys.executable, "-m", "gateway"],
            ours | common | {"GATEWAY_LISTEN": f"127.0.0.1:{port}", "GATEWAY_EXECUTOR_ID": f"gateway-{number}"},
            home / f"gateway-{number}.log",
        )
        for number, port in enumerate(ports)
    ]
    world = World(home, services, members, [f"127.0.0.1:{port}" for port in ports], calls)
    try:
        services.start()
        for number, member in enumerate(members):
            member.start()
            await world.ready(number)
        yield world
    finally:
        await world.close()


async def upload(stub: Any, photo: bytes) -> str:
    """Make a session; its id."""
    messages = [
        studio_pb2.CreateSessionRequest(options=studio_pb2.SessionOptions()),
        studio_pb2.CreateSessionRequest(chunk=photo),
    ]
    response = await stub.CreateSession(messages, timeout=_SECONDS, wait_for_ready=True)
    return str(response.session.session_id)


def spec(session_id: str, **changes: Any) -> studio_pb2.JobSpec:
    """What to make."""
    fields: dict[str, Any] = {
        "session_id": session_id,
        "background": studio_pb2.Background(prompt="a marble table"),
        "camera_preset": scene_pb2.CAMERA_PRESET_TURNTABLE,
    }
    return studio_pb2.JobSpec(**fields | changes)


async def create(stub: Any, job: studio_pb2.JobSpec, key: str = "") -> studio_pb2.Job:
    """Start a job."""
    request = studio_pb2.CreateJobRequest(spec=job, idempotency_key=key)
    created: studio_pb2.Job = (await stub.CreateJob(request, timeout=_SECONDS, wait_for_ready=True)).job
    return created


async def finished(stub: Any, job_id: str) -> studio_pb2.Job:
    """The job at its end."""
    async for response in stub.WatchJob(studio_pb2.WatchJobRequest(job_id=job_id), wait_for_ready=True):
        if response.HasField("job"):
            job: studio_pb2.Job = response.job
            return job
    raise RuntimeError("the story has no end")
