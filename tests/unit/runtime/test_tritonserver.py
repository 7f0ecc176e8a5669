"""Triton's environment, log and leftovers, as far as they need no server; and what the repository says of models."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import cast

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from lensora.core.errors import Unavailable
from lensora.runtime import tritonserver
from lensora.runtime.triton import Client
from lensora.runtime.tritonlog import Log, as_event
from lensora.runtime.tritonserver import LIGHT, REPOSITORY, REQUIREMENTS, Environment, Server, TritonMissing

MODELS = sorted(folder.parent.name for folder in REPOSITORY.glob("*/1"))


def pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^ \\\n]+)", file.read_text(), re.MULTILINE))


def test_the_networks_libraries_are_those_of_the_services() -> None:
    asked, hosted, services = (pins(REQUIREMENTS.with_name(name)) for name in ("triton.in", "triton.txt", "run.txt"))
    assert hosted == asked
    assert hosted["opencv-python-headless"] == services["opencv-python"]
    for name in ("ai-edge-litert", "backports-strenum", "onnxruntime"):
        assert hosted[name] == services[name]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_the_same_on_cpu_and_gpu_but_for_where_it_runs(model: str) -> None:
    files = (REPOSITORY / model / "config.pbtxt", REPOSITORY / model / "configs" / "cpu.pbtxt")
    gpu, cpu = (text_format.Parse(file.read_text(), model_config_pb2.ModelConfig()) for file in files)
    for config in (gpu, cpu):
        assert config.backend == "python" and len(config.instance_group) == 1
        assert config.HasField("dynamic_batching") != config.model_transaction_policy.decoupled
    assert (gpu.input, gpu.output, gpu.max_batch_size) == (cpu.input, cpu.output, cpu.max_batch_size)
    assert cpu.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU


def test_the_light_models_are_there() -> None:
    assert set(LIGHT) <= set(MODELS)


def test_lines_of_triton_and_of_models_become_events() -> None:
    glog = "E1123 06:42:35.538966 17276 model.cc:12] \"failed to load 'x'\""
    event = json.loads(as_event(glog))
    assert (event["level"], event["event"], event["source"]) == ("error", "failed to load 'x'", "model.cc:12")
    assert json.loads(as_event("Traceback (most recent call last):"))["level"] == "info"
    assert as_event("I1123 06:42:35.538966 17276 server.cc:604]") == ""


async def test_a_log_takes_what_processes_write_and_ends_with_them(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    with await log.follow() as pipe:
        script = "echo one; printf '+--\\n| a table\\n'; head -c 100000 /dev/zero | tr '\\0' x; echo; printf last"
        await asyncio.to_thread(subprocess.run, ["/bin/sh", "-c", script], stdout=pipe, check=True)
    await log.ended()
    first, long, last = (json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines())
    assert (first, set(long), last) == ("one", {"x"}, "last") and len(long) <= 4000


def test_only_the_leftovers_of_the_dead_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tritonserver, "SHARED_MEMORY", tmp_path)
    process = subprocess.Popen(["true"])
    process.wait()
    names = [f"lensora_triton_{process.pid}_a", f"lensora_triton_{os.getpid()}_b", "lensora_triton_x", "others"]
    for name in names:
        (tmp_path / name).touch()
    tritonserver.sweep_the_dead()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names[1:])


def test_what_pip_cannot_install_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENSORA_TRITON", str(tmp_path / "triton"))
    monkeypatch.setattr("venv.create", lambda folder, **_: (folder / "bin").mkdir(parents=True))

    def refuse(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "looking\nERROR: no matching distribution\n")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(TritonMissing, match="ERROR: no matching distribution"):
        tritonserver.install()
    assert not list((tmp_path / "triton").glob("*/.complete"))


class Falls:
    """A process that has ended."""

    pid, returncode = 2**22, 9

    async def wait(self) -> int:
        return self.returncode


async def test_a_server_that_ends_again_and_again_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []

    async def start(server: Server) -> None:
        starts.append(server.process)

    monkeypatch.setattr(Server, "start", start)
    client, broken = Client("127.0.0.1:1"), asyncio.get_running_loop().create_future()
    environment, log = Environment(tmp_path), Log(tmp_path / "triton.log")
    server = Server(environment, tmp_path, log, tmp_path, (), "127.0.0.1:1", client, broken, 1.0)
    server.process = cast("asyncio.subprocess.Process", Falls())
    await server.keep()
    with pytest.raises(Unavailable, match=r"triton: it ended 3 times; see .*triton\.log") as caught:
        await broken
    assert caught.value.reason == "PROCESS_DOWN" and len(starts) == 2
