"""The processes that Triton's Python models run in, seen from outside."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path

import psutil


class Stubs:
    """Those of one server on this machine.

    One that has crashed stays a zombie until its model is unloaded; one that was unloaded is a zombie for a moment, so
    it takes two looks to tell.
    """

    def __init__(self, server: Callable[[], int | None]) -> None:
        """``server`` tells the process id of the server, as it is now."""
        self._server = server
        self._models: dict[psutil.Process, str] = {}
        self._seen: Hashable = None
        self._suspects: set[psutil.Process] = set()

    def crashed(self, loaded: Hashable) -> set[str]:
        """The models whose process has crashed, each told once; blocks for some milliseconds.

        Args:
            loaded: changes whenever models are loaded or unloaded.
        """
        server = self._server()
        if self._seen != (server, loaded):
            self._seen, self._models = (server, loaded), _stubs(server)
        suspects = {stub for stub in self._models if _is_zombie(stub)}
        sure = suspects & self._suspects
        self._suspects = suspects - sure
        return {self._models.pop(stub) for stub in sure}


def _stubs(server: int | None) -> dict[psutil.Process, str]:
    """Each running stub's model: the folder above the version's, of the file that it was started with."""
    found = {}
    for child in _children(server):
        try:
            words = child.cmdline()
        except psutil.Error:  # ended, or crashed before
            continue
        if len(words) > 1 and Path(words[0]).name == "triton_python_backend_stub":
            found[child] = Path(words[1]).parents[1].name
    return found


def _children(server: int | None) -> list[psutil.Process]:
    try:
        return psutil.Process(server).children(recursive=True) if server else []
    except psutil.Error:
        return []


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
