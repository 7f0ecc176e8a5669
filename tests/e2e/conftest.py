"""The real system: `lensora up`, six processes, for all of the e2e tests."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

LENSORA = Path(sys.executable).with_name("lensora")


@dataclass(frozen=True)
class System:
    """A running `lensora up`."""

    process: subprocess.Popen[str]
    address: str
    """Of the gateway."""
    addresses: dict[str, str]
    """Of all six, by name."""
    home: Path

    def service(self, name: str) -> psutil.Process:
        """The process of one service, as it is now."""
        for child in psutil.Process(self.process.pid).children():
            if child.cmdline()[-1] == f"services.{name}":
                return child
        raise LookupError(name)

    def replaced(self, victim: psutil.Process, name: str, seconds: float = 30.0) -> bool:
        """Whether another process of the service comes within that time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(LookupError, psutil.Error):  # not there yet, or not yet what it is to be
                if self.service(name).pid != victim.pid:
                    return True
            time.sleep(0.1)
        return False


def start(home: Path, within: Sequence[str] = (), http: str = "") -> System:
    """Run `lensora up` on a free port, and wait until all six serve.

    Args:
        home: folder of its data.
        within: a command that runs the command given to it in its own place.
        http: ``host:port`` of its HTTP edge; anywhere or nowhere if empty.
    """
    process = subprocess.Popen(
        [*within, str(LENSORA), "up", "--listen", "127.0.0.1:0", "--home", str(home), "--http", http],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert process.stdout is not None
    addresses: dict[str, str] = {}
    for line in process.stdout:
        if member := re.match(r"(\w+) +(\S+:\d+) +pid \d+", line):
            addresses[member[1]] = member[2]
        if found := re.search(r"speaks gRPC on (\S+);", line):
            return System(process, found[1], addresses, home)
    raise AssertionError(f"`lensora up` ended with {process.wait()}")


def stop(system: System) -> None:
    """End it as Ctrl-C does; nothing may be left."""
    family = psutil.Process(system.process.pid).children(recursive=True)
    system.process.send_signal(signal.SIGINT)
    system.process.communicate(timeout=20)
    assert still_running(family, 2) == []


def worker_of(service: psutil.Process) -> psutil.Process:
    """The engine's process (the other child is multiprocessing's resource tracker)."""
    (worker,) = (child for child in service.children() if "spawn_main" in " ".join(child.cmdline()))
    return worker


def still_running(family: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Who of the family has not ended by then; an init that is slow to reap leaves zombies, which run no more."""
    _, left = psutil.wait_procs(family, timeout=seconds)
    return [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = start(tmp_path_factory.mktemp("home"))
    yield running
    stop(running)


PHOTOS = {name: Path(__file__).parents[2] / f".cache/photos/{name}.png" for name in ("air-balloon", "astronaut")}
"""Two real photographs, which `make setup-dev` fetched."""
