"""A small mesh on the loopback: a control plane, instances that do what they are told, and callers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from controlplane.authority import Authority
from controlplane.wire import admin_pb2, admin_pb2_grpc
from lensora.core.errors import Internal, LensoraError
from lensora.runtime import mesh, tls
from lensora.runtime.server import Listener
from lensora.type.v1 import engine_pb2, engine_pb2_grpc

PATIENCE = 30.0
"""No test waits longer for anything, seconds."""

Context = grpc.aio.ServicerContext[Any, Any]


class Instance(engine_pb2_grpc.EngineServiceServicer):
    """One instance of a service, on the real runtime."""

    def __init__(self, version: str, certificates: Path | None = None, listen: str = "127.0.0.1:0") -> None:
        self.version, self._certificates, self.address = version, certificates, listen
        self.calls = 0
        self.fails: Callable[[int], LensoraError | None] = lambda _: None
        """By the number of the call, from 1, what it fails with."""

        self.gate: asyncio.Event | None = None
        """What calls wait for."""

        self.add: Callable[[grpc.aio.Server], None] = lambda _: None
        """Serves more beside."""

    async def GetEngine(  # noqa: N802
        self,
        request: engine_pb2.GetEngineRequest,  # noqa: ARG002
        context: Context,  # noqa: ARG002
    ) -> engine_pb2.GetEngineResponse:
        """Says which instance this is."""
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        if (error := self.fails(self.calls)) is not None:
            raise error
        info = engine_pb2.EngineInfo(version=self.version, fingerprint=f"toy/scripted@{self.version}")
        return engine_pb2.GetEngineResponse(engine=info)

    async def start(self) -> Instance:
        """Listen, on the address it had before if it was stopped."""
        self.listener = Listener(self.address, ["lensora.type.v1.EngineService"], certificates=self._certificates)
        engine_pb2_grpc.add_EngineServiceServicer_to_server(self, self.listener.server)
        self.add(self.listener.server)
        self.address = self.listener.address
        await self.listener.start()
        await self.listener.set_serving(serving=True)
        return self

    async def restart(self) -> None:
        """Drain as a service does that was told to stop, and come back."""
        await self.listener.drain(10, notice_seconds=0.2)
        await self.listener.stop()
        await self.start()


def half(number: int) -> LensoraError | None:
    """Every other call fails, with a status that is not retried."""
    return Internal("scripted") if number % 2 else None


@dataclass(slots=True)
class Caller:
    """One client process."""

    process: asyncio.subprocess.Process
    _answers: dict[str, asyncio.Future[list[list[Any]]]] = field(default_factory=dict)
    _reader: asyncio.Task[None] | None = None
    said: list[str] = field(default_factory=list)
    """Its log."""

    def order(self, name: str, **order: Any) -> asyncio.Future[list[list[Any]]]:
        """Begin; the future gets its calls."""
        assert self.process.stdin is not None
        self._answers[name] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(json.dumps({"name": name, **order}).encode() + b"\n")
        return self._answers[name]

    async def calls(self, count: int = 1, **order: Any) -> list[list[Any]]:
        """Make so many, and wait for them."""
        async with asyncio.timeout(PATIENCE):
            return await self.order(f"{len(self._answers)}", calls=count, **order)

    async def stop(self, name: str) -> list[list[Any]]:
        """End what goes on, and get its calls."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"stop": name}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            return await self._answers[name]

    async def read(self) -> None:
        """Hand out its answers."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            answer = json.loads(line)
            self._answers[answer["name"]].set_result(answer["calls"])
        for future in self._answers.values():
            if not future.done():
                future.set_exception(RuntimeError("the caller ended: " + "".join(self.said)))

    async def listen(self) -> None:
        """Keep what it logs."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.said.append(line.decode())


@dataclass(slots=True)
class World:
    """All of it."""

    folder: Path
    address: str
    tls: bool
    services: dict[str, Any] = field(default_factory=dict)
    """As the mesh has them."""

    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    control: asyncio.subprocess.Process | None = None

    @property
    def file(self) -> Path:
        """Where the mesh is configured."""
        return self.folder / "mesh.yaml"

    @staticmethod
    def free_address() -> str:
        """Where nobody listens now."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{probe.getsockname()[1]}"

    def certificates(self, name: str) -> Path | None:
        """Folder of one member, which has its certificate."""
        if not self.tls:
            return None
        folder = self.folder / "certificates" / name
        if not folder.exists():
            self.issue(name)
        return folder

    def issue(self, name: str) -> None:
        """A new certificate for one member."""
        root = self.folder / "certificates"
        Authority.open(root).issue(root / name, name, days=1)

    def configure(self, service: str, stable: Iterable[Instance], canary: Iterable[Instance] = (), *, share: int = 0,
                  **rest: Any) -> None:  # fmt: skip
        """Write the mesh with this service so."""
        self.services[service] = {
            "stable": {"weight": 100 - share, "endpoints": [one.address for one in stable]},
            "canary": {"weight": share, "endpoints": [one.address for one in canary]},
            **rest,
        }
        self.write(json.dumps({"tls": self.tls, "services": self.services}))  # JSON is YAML

    def write(self, text: str) -> None:
        """Put it in place at once."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.file)

    async def start_control(self) -> None:
        """Start the control plane."""
        environment = {
            "CONTROLPLANE_LISTEN": self.address,
            "CONTROLPLANE_MESH": str(self.file),
            "CONTROLPLANE_DIE_WITH_PARENT": "true",
            "CONTROLPLANE_POLL_SECONDS": "0.05",
            "CONTROLPLANE_REPORT_SECONDS": "0.2",
        }
        if (certificates := self.certificates("controlplane")) is not None:
            environment["CONTROLPLANE_CERTIFICATES"] = str(certificates)
        with (self.folder / "control.log").open("ab") as log:
            self.control = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "controlplane", env={**os.environ, **environment}, stdout=log, stderr=log
            )
        await self.until(lambda status: status.services)

    async def kill_control(self) -> None:
        """Without a word."""
        assert self.control is not None
        if self.control.returncode is None:
            self.control.send_signal(signal.SIGKILL)
        await self.control.wait()

    async def caller(self, service: str, target: str = "127.0.0.1:1", *, mesh_wide: bool = True) -> Caller:
        """A client of a service; ``mesh_wide`` or of a direct target."""
        certificates = self.certificates("gateway")
        environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
        if mesh_wide:
            name = f"caller-{os.urandom(3).hex()}"
            where = str(certificates) if certificates else ""
            environment["GRPC_XDS_BOOTSTRAP_CONFIG"] = mesh.bootstrap(f"dns:///{self.address}", name, where, 1.0)
        pipe = asyncio.subprocess.PIPE
        command = [
            sys.executable,
            "-m",
            "tests.mesh.caller",
            service,
            target,
            *([str(certificates)] if certificates else []),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, limit=2**26
        )
        made = Caller(process)
        tasks = [asyncio.create_task(made.read()), asyncio.create_task(made.listen())]

        async def end() -> None:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await asyncio.gather(*tasks)

        self.stack.push_async_callback(end)
        return made

    async def instance(self, service: str, version: str) -> Instance:
        """Start one."""
        made = await Instance(version, self.certificates(service)).start()
        self.stack.push_async_callback(lambda: made.listener.stop())
        return made

    @contextlib.asynccontextmanager
    async def admin(self, name: str = mesh.OPERATOR) -> AsyncIterator[Any]:
        """A stub of the control plane's administration."""
        certificates = self.certificates(name)
        if certificates is None:
            channel = grpc.aio.insecure_channel(self.address)
        else:
            channel = grpc.aio.secure_channel(self.address, tls.channel_credentials(certificates))
        async with channel:
            yield admin_pb2_grpc.MeshServiceStub(channel)

    async def until(self, holds: Callable[[Any], Any]) -> Any:
        """Wait for a status of which this holds."""
        async with asyncio.timeout(PATIENCE), self.admin() as stub:
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    status = await stub.GetStatus(admin_pb2.GetStatusRequest(), wait_for_ready=True)
                    if holds(status):
                        return status
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(folder: Path, *, tls: bool = False) -> AsyncIterator[World]:
    """A mesh whose control plane is yet to be started."""
    world = World(folder, World.free_address(), tls)
    try:
        yield world
    finally:
        await world.stack.aclose()
        if world.control is not None:
            await world.kill_control()


def who(calls: Iterable[list[Any]]) -> Counter[str]:
    """How many calls each instance answered; by status those that failed."""
    return Counter(version or code for _, _, version, code in calls)


def codes(calls: Iterable[list[Any]]) -> Counter[str]:
    """How the calls ended."""
    return Counter(code for *_, code in calls)


async def eventually(ask: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(PATIENCE):
        while not await ask():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
