"""``lensora up --triton``: its services ask Triton, and nothing is left of it afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil

from lensora.client import Studio
from lensora.runtime.tritonserver import SHARED_MEMORY
from lensora.type.v1 import engine_pb2, engine_pb2_grpc

ROOT = Path(__file__).parents[3]
PHOTO = ROOT / ".cache/photos/air-balloon.png"


@dataclass(frozen=True)
class Up:
    """What it printed."""

    addresses: dict[str, str]
    gateway: str
    home: Path


@contextlib.contextmanager
def lensora_up(home: Path) -> Iterator[Up]:
    """Run it until the block ends, as Ctrl-C does; all its processes and shared memory must be gone then."""
    command = [sys.executable, "-c", "from cli.main import main; main()", "up", "--triton"]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--home", str(home)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert process.stdout is not None
    addresses: dict[str, str] = {}
    for line in process.stdout:
        if member := re.match(r"(\w+) +(\S+:\d+) ", line):
            addresses[member[1]] = member[2]
        if found := re.search(r"speaks gRPC on (\S+);", line):
            break
    else:
        raise AssertionError(f"ended with {process.wait()}")
    family = psutil.Process(process.pid).children(recursive=True)
    assert any(one.name() == "tritonserver" for one in family)
    try:
        yield Up(addresses, found[1], home)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    _, left = psutil.wait_procs(family, timeout=15)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
    assert list(SHARED_MEMORY.glob(f"lensora_triton_{process.pid}_*")) == []


def engine(address: str) -> str:
    """The fingerprint that a service advertises."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = engine_pb2_grpc.EngineServiceStub(channel)
        return str(stub.GetEngine(engine_pb2.GetEngineRequest(), timeout=60).engine.fingerprint)


def test_its_services_ask_triton_and_nothing_is_left(tmp_path: Path) -> None:
    with lensora_up(tmp_path / "home") as up:
        assert engine(up.addresses["detect"]).startswith("detect/triton@")
        assert engine(up.addresses["segment"]).startswith("segment/triton@")
        assert engine(up.addresses["mesh3d"]).startswith("mesh3d/embedded@")
        with Studio("", f"grpc://{up.gateway}") as studio:
            found = studio.init(PHOTO.read_bytes()).info.objects
        assert found[0].label == "hot-air balloon"
        events = [json.loads(line) for line in (up.home / "logs/triton.log").read_text().splitlines()]
    assert {event["service"] for event in events} == {"triton"}
    assert any(event["event"] == "successfully loaded 'detect_ssd'" and event["level"] == "info" for event in events)
