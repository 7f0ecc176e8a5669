"""``compose.yaml``, whole: started by podman-compose, a job through its published port, and taken down again.

Postgres, the S3 server and the collector are the public images where these can be had, else stand-ins made here from
Debian's packages and PyPI's (``standins/``); everything of ours is as it is shipped.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lensora.client import Output, Studio
from tests.containers.system import PATIENCE, ROOT, SERVICES, podman

pytestmark = pytest.mark.containers

PROJECT = f"compose-{os.getpid()}"
STAND_INS = {
    "postgres:17-bookworm": "postgres",
    "chrislusf/seaweedfs:4.48": "s3",
    "otel/opentelemetry-collector-contrib:0.135.0": "collector",
}
MEMBERS = {*SERVICES, "gateway", "controlplane", "postgres", "s3", "collector"}
PHOTO = ROOT / ".cache/photos/air-balloon.png"


def stand_in(name: str, file: str, folder: Path) -> None:
    """Make an image of that name, unless there is one."""
    for words in (["image", "exists", name], ["pull", "--quiet", name]):
        if subprocess.run(["podman", *words], check=False, capture_output=True, timeout=60).returncode == 0:
            return
    context = folder / file
    shutil.copytree(ROOT / "tests/containers/standins", context / "tests/containers/standins")
    if file == "s3":
        shutil.copy(Path(sys.executable).with_name("weed"), context)
    recipe = ROOT / f"tests/containers/standins/{file}.Containerfile"
    options = ["--isolation", "chroot", "--network", "host", "--build-arg", "BASE=localhost/lensora-base:bookworm"]
    podman("build", "--quiet", *options, "--file", recipe, "--tag", f"localhost/{name}", context)


def compose(*words: str) -> subprocess.Popen[str]:
    """Begin a command of podman-compose."""
    tool = Path(sys.executable).with_name("podman-compose")
    command = [str(tool), "--file", str(ROOT / "compose.yaml"), "--project-name", PROJECT, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def containers() -> list[str]:
    """Names of all that run."""
    return podman("ps", "--filter", f"label=io.podman.compose.project={PROJECT}", "--format", "{{.Names}}").split()


@contextlib.contextmanager
def health_is_checked() -> Iterator[None]:
    """Run the images' health checks now and then: podman leaves that to systemd, which not every machine has."""
    over = threading.Event()

    def check() -> None:
        while not over.wait(1.0):
            for name in containers():
                subprocess.run(["podman", "healthcheck", "run", name], check=False, capture_output=True)

    thread = threading.Thread(target=check)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the gateway's HTTP edge."""
    for name, file in STAND_INS.items():
        stand_in(name, file, tmp_path_factory.mktemp("standins"))
    try:
        with health_is_checked():
            up = compose("up", "--detach")
            said, _ = up.communicate(timeout=2 * PATIENCE)
            assert up.returncode == 0, said[-3000:]
            deadline = time.monotonic() + PATIENCE
            while not ready():
                assert time.monotonic() < deadline, podman("ps", "--all")
                time.sleep(0.5)
        yield "http://127.0.0.1:8080"
    finally:
        compose("down", "--volumes", "--timeout", "5").communicate(timeout=PATIENCE)


def ready() -> bool:
    """Whether the gateway says that all it needs is there."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get("http://127.0.0.1:8080/readyz", timeout=10.0).status_code == httpx.codes.OK
    return False


def test_the_whole_system_makes_a_film(running: str, tmp_path: Path) -> None:
    assert {name.removeprefix(f"{PROJECT}_").rpartition("_")[0] for name in containers()} == MEMBERS
    output = Output(width=320, height=256, duration_s=2)
    with Studio("", running) as studio:
        job = studio.init(PHOTO).transform(background="on a marble countertop", camera="turntable", output=output)
        assert job.result().mesh is not None
        for kind in ("video", "glb", "still", "cutout"):
            assert job.download(kind, tmp_path / kind).size > 1000
