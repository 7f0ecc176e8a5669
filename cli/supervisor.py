"""Six processes on one machine: started together, restarted when they fall, and gone when this one goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from lensora.core.blobs import file_url
from lensora.core.errors import Unavailable
from lensora.runtime.channels import open_channel, wait_serving
from lensora.runtime.process import free_ports

SERVICES = ("detect", "segment", "background", "mesh3d", "render")
NAMES = (*SERVICES, "gateway")

_STOP_SECONDS = 6.0
_RESTART_SECONDS = 0.5
_START_TRIES = 3
_READY_SECONDS = 60.0

_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""Six processes share the cores: BLAS threads that wait for each other by spinning cost more than they bring."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Member:
    """One supervised process."""

    name: str
    address: str
    environment: dict[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None
    failures: int = 0
    """Ends in a row without having served."""

    async def start(self) -> None:
        module = "gateway" if self.name == "gateway" else f"services.{self.name}"
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module,
                env=self.environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is for us; we stop them in order
            )  # fmt: skip

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


@dataclass(slots=True)
class System:
    """The running six."""

    home: Path
    members: dict[str, _Member]
    broken: asyncio.Future[None] = field(repr=False)
    """Raises ``Unavailable`` once a process cannot be kept up."""

    @property
    def address(self) -> str:
        """Where the gateway listens."""
        return self.members["gateway"].address

    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        return {
            name: member.process.pid
            for name, member in self.members.items()
            if member.process is not None and member.process.returncode is None
        }

    async def ready(self) -> float:
        """Wait until every one serves; returns the seconds it took."""
        start = time.monotonic()
        everyone = asyncio.gather(*(self._serving(member) for member in self.members.values()))
        await first_of(everyone, self.broken)
        return time.monotonic() - start

    async def _serving(self, member: _Member) -> None:
        async with open_channel(member.address) as channel:
            await wait_serving(channel, _READY_SECONDS)
        member.failures = 0


async def first_of(work: asyncio.Future[Any], broken: asyncio.Future[None]) -> None:
    """Wait for ``work``, or raise what ``broken`` raises, whichever comes first."""
    both: set[asyncio.Future[Any]] = {work, broken}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if broken.done():
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        broken.result()
    await work


@contextlib.asynccontextmanager
async def running(
    home: Path, listen: str = "127.0.0.1:0", services: tuple[str, ...] = SERVICES
) -> AsyncIterator[System]:
    """Start the services and the gateway, keep them up, and stop them at the end, whatever ends it.

    Args:
        home: absolute folder of the database, the blobs and the logs.
        listen: ``host:port`` of the gateway; port 0 takes a free one.
        services: those of ``SERVICES`` that will be needed.
    """
    members = _members(home, listen, services)
    system = System(home, members, asyncio.get_running_loop().create_future())
    keepers: list[asyncio.Task[None]] = []
    try:
        for member in members.values():
            await member.start()
        keepers = [asyncio.create_task(_keep_up(system, member)) for member in members.values()]
        yield system
    finally:
        for keeper in keepers:
            keeper.cancel()
        system.broken.cancel()
        await asyncio.shield(_stop(members))


async def _keep_up(system: System, member: _Member) -> None:
    while member.process is not None:
        started = time.monotonic()
        status = await member.process.wait()
        _log.warning("process ended", process=member.name, status=status)
        member.failures = member.failures + 1 if time.monotonic() - started < _READY_SECONDS else 0
        if member.failures >= _START_TRIES or status == 1:
            if not system.broken.done():
                system.broken.set_exception(_why(member, status))
            return
        await asyncio.sleep(_RESTART_SECONDS * member.failures)
        await member.start()


async def _stop(members: dict[str, _Member]) -> None:
    """SIGTERM to the gateway first, so that its jobs end while the services are there; SIGKILL to who lingers."""
    gateway = members["gateway"]
    for group in ((gateway,), tuple(member for member in members.values() if member is not gateway)):
        for member in group:
            member.signal(signal.SIGTERM)
        waits = [asyncio.create_task(member.process.wait()) for member in group if member.process is not None]
        if waits:
            await asyncio.wait(waits, timeout=_STOP_SECONDS)
        for member in group:
            member.signal(signal.SIGKILL)
        await asyncio.gather(*waits)


def _members(home: Path, listen: str, services: tuple[str, ...]) -> dict[str, _Member]:
    """The services and the gateway, with their addresses and environments."""
    logs, blobs = home / "logs", home / "blobs"
    for folder in (logs, blobs):
        folder.mkdir(parents=True, exist_ok=True)
    host, _, port = listen.rpartition(":")
    *free, gateway_port = free_ports(len(services) + 1)
    addresses = {name: f"127.0.0.1:{free[i]}" for i, name in enumerate(services)}
    addresses["gateway"] = listen if port != "0" else f"{host}:{gateway_port}"
    members = {}
    for name, address in addresses.items():
        prefix = name.upper()
        own = {f"{prefix}_LISTEN": address, f"{prefix}_DIE_WITH_PARENT": "true"}
        if name == "gateway":
            own["GATEWAY_HOME"] = str(home)
            own |= {f"GATEWAY_{service.upper()}_TARGET": addresses[service] for service in services}
        else:
            own[f"{prefix}_BLOB_PREFIX"] = file_url(blobs) + "/"
        members[name] = _Member(name, address, {**_THREADS, **os.environ, **own}, logs / f"{name}.log")
    return members


def _why(member: _Member, status: int) -> Unavailable:
    """What the process said last: its own typed error if it has one, else the bare line."""
    lines = member.log.read_text(errors="replace").strip().splitlines()
    last = lines[-1][:500] if lines else "it said nothing"
    try:
        event = json.loads(last)
        message, reason = str(event["message"]), str(event["reason"])
    except (ValueError, KeyError, TypeError):
        message, reason = f"ended with status {status}: {last}", "PROCESS_DOWN"
    return Unavailable(f"{member.name}: {message}", reason=reason)
