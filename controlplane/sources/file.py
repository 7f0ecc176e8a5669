"""A YAML file: one machine, or containers without an orchestrator, whose names are looked up in DNS."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

import structlog

from controlplane.model import TRACKS, address, with_weights
from controlplane.resources import Places
from controlplane.settings import Settings
from controlplane.state import State
from lensora.core.errors import FailedPrecondition

_log = structlog.get_logger()


class FileSource:
    """Looks at the file again and again, because changes in mounted folders are not always announced."""

    def __init__(self, state: State, settings: Settings) -> None:
        self._state, self._settings, self._path = state, settings, settings.mesh
        self._known: dict[str, tuple[str, ...]] = {}
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """See ``Source``."""
        looked_up = -self._settings.resolve_seconds
        loop = asyncio.get_running_loop()
        while True:
            changed = await self._read()
            due = loop.time() - looked_up >= self._settings.resolve_seconds
            if changed or due:
                await self._look_up(again=due)
                self._state.place(self._places())
                looked_up = loop.time() if due else looked_up
            await asyncio.sleep(self._settings.poll_seconds)

    async def set_weights(self, service: str, weights: Mapping[str, int]) -> None:
        """See ``Source``."""
        async with self._writing:
            try:
                text = await asyncio.to_thread(self._path.read_text)
                await asyncio.to_thread(_replace, self._path, with_weights(text, service, weights))
            except OSError as error:
                raise FailedPrecondition(
                    f"the mesh cannot be rewritten: {error}; mount the folder of {self._path} writable",
                    reason="MESH_READ_ONLY",
                ) from error

    async def _read(self) -> bool:
        try:
            return self._state.configure(await asyncio.to_thread(self._path.read_text))
        except (OSError, UnicodeDecodeError) as error:
            self._state.unreadable(f"{self._path} cannot be read: {error}")
            return False

    async def _look_up(self, *, again: bool) -> None:
        """Addresses of all names; one that is not found keeps those it had, for DNS fails more often than machines."""
        names = {host for places in self._configured().values() for host, _ in places}
        wanted = sorted(name for name in names if again or name not in self._known)
        found = await asyncio.gather(*(_addresses(name) for name in wanted))
        for name, addresses in zip(wanted, found, strict=True):
            if addresses or name not in self._known:
                self._known[name] = addresses
            if not addresses:
                _log.warning("name not found", name=name, kept=len(self._known[name]))
        self._known = {name: known for name, known in self._known.items() if name in names}

    def _places(self) -> Places:
        return {
            key: tuple((ip, port) for host, port in places for ip in self._known.get(host, ()))
            for key, places in self._configured().items()
        }

    def _configured(self) -> Places:
        services = self._state.mesh.services if self._state.mesh else {}
        return {
            (name, track): tuple(map(address, service.track(track).endpoints))
            for name, service in services.items()
            for track in TRACKS
        }


async def _addresses(host: str) -> tuple[str, ...]:
    try:
        return (str(ip_address(host)),)
    except ValueError:
        pass
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(sorted({str(info[4][0]) for info in infos}))


def _replace(path: Path, text: str) -> None:
    """Write whole or not at all; readers see the old file or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(name).chmod(path.stat().st_mode & 0o777)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
