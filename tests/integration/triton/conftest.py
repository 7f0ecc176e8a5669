"""A real, supervised Triton with our light models and a few that misbehave, shared by all of these tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from lensora.runtime import process as processes
from lensora.runtime.triton import Client
from lensora.runtime.tritonserver import LIGHT, REPOSITORY, SHARED_MEMORY

HERE = Path(__file__).parent
OURS = ("echo", "steps", "versioned")
UNLOADABLE = "needy"


@dataclass(frozen=True)
class Triton:
    """A running server."""

    address: str
    server: psutil.Process
    folder: Path
    """With ``triton.log``."""

    repository: Path

    def stub(self, model: str) -> psutil.Process:
        """The process that a model runs in, as it is now."""
        for child in self.server.children(recursive=True):
            if child.status() != psutil.STATUS_ZOMBIE and f"/{model}/" in " ".join(child.cmdline()[1:2]):
                return child
        raise LookupError(model)


class Supervise(Protocol):
    """Starts a supervisor, whose log lines go to ``supervisor.log``, and waits until its server is ready."""

    def __call__(self, folder: Path, repository: Path, *models: str) -> tuple[subprocess.Popen[str], Triton]: ...


@pytest.fixture(scope="session")
def supervise() -> Supervise:
    def start(folder: Path, repository: Path, *models: str) -> tuple[subprocess.Popen[str], Triton]:
        with (folder / "supervisor.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "supervised.py"), str(folder / "triton.log"), str(repository), *models],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "PYTHONPATH": str(HERE.parents[2])},
            )  # fmt: skip
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        return process, Triton(told["address"], psutil.Process(told["pid"]), folder, repository)

    return start


@pytest.fixture(scope="session")
def triton(supervise: Supervise, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    folder = tmp_path_factory.mktemp("triton")
    repository = folder / "repository"
    for source, models in ((REPOSITORY, LIGHT), (HERE / "repository", (*OURS, UNLOADABLE))):
        for model in models:
            shutil.copytree(source / model, repository / model)
    process, running = supervise(folder, repository, *LIGHT, *OURS)
    yield running
    family = [running.server, *running.server.children(recursive=True)]
    process.communicate(timeout=30)
    assert process.returncode == 0
    gone(family)
    assert regions(process.pid) == []


def gone(family: list[psutil.Process]) -> None:
    """Nobody of the family runs any more; an init that is slow to reap leaves zombies."""
    _, left = psutil.wait_procs(family, timeout=15)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []


def regions(pid: int) -> list[Path]:
    """The shared memory of the servers under a supervisor."""
    return list(SHARED_MEMORY.glob(f"lensora_triton_{pid}_*"))


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on right now."""
    return processes.free_ports(1)[0]


@pytest.fixture
async def client(triton: Triton) -> AsyncIterator[Client]:
    """Patient: a crashed model on a busy machine takes a while to come back."""
    opened = Client(triton.address, retry_seconds=60)
    yield opened
    await opened.close()


@pytest.fixture
async def hasty(triton: Triton) -> AsyncIterator[Client]:
    """Tries nothing twice."""
    opened = Client(triton.address, retry_seconds=0)
    yield opened
    await opened.close()
