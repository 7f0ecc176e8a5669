"""Every check of `lensora doctor`, on something that is really well and on something that is really not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from cli import doctor
from lensora.core import models

SMALL = "ssd-mobilenet-v2-text"
"""The model whose file is the smallest."""


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_this_machine_can_draw() -> None:
    found = doctor.rendering()
    assert (found.state, found.remedy) == ("ok", ""), found
    assert "OpenGL 4.5" in found.found or "OpenGL 4.6" in found.found


def test_a_machine_without_egl_devices_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", str(tmp_path / "none.json"))
    found = doctor.rendering()
    assert found.state == "fail"
    assert "libegl1" in found.remedy
    assert "device" in found.found, "what moderngl said, in one line"


@pytest.mark.parametrize(("name", "pixels"), doctor.ENCODERS.items())
def test_both_encoders_encode(name: str, pixels: str) -> None:
    found = doctor.encoder(name, pixels)
    assert found.state == "ok", found


@pytest.mark.parametrize(("name", "pixels"), [("libnone", "yuv420p"), ("libx264", "yuva420p")])
def test_an_encoder_that_is_not_there_or_cannot_is_missed(name: str, pixels: str) -> None:
    found = doctor.encoder(name, pixels)
    assert found.state == "fail"
    assert found.found
    assert "av" in found.remedy


def test_models_are_read_not_only_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = models.path(SMALL).read_bytes()
    monkeypatch.setenv("LENSORA_MODELS", str(tmp_path))
    assert doctor.model(SMALL).state == "fail"
    assert "not at" in doctor.model(SMALL).found
    file = tmp_path / models.get(SMALL).filename
    file.write_bytes(whole)
    assert doctor.model(SMALL).state == "ok"
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    altered = doctor.model(SMALL)
    assert altered.state == "fail"
    assert "not the published file" in altered.found
    assert altered.remedy == f"lensora models fetch {SMALL}"


def test_a_port_is_free_or_taken_by_somebody_who_is_named() -> None:
    with listening() as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        found = doctor.port(address)
        assert found.state == "fail"
        assert f"taken by process {os.getpid()}" in found.found
        assert "--listen" in found.remedy
    assert doctor.port(address).state == "ok"


def test_a_gateway_on_the_port_is_no_fault(tmp_path: Path) -> None:
    program = tmp_path / "gateway.py"
    program.write_text(
        "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\ninput()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "gateway"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        found = doctor.port(f"127.0.0.1:{int(process.stdout.readline())}")
        process.communicate("\n")
    assert found.state == "warn"
    assert f"process {process.pid}" in found.found
    assert "--server" in found.remedy


@pytest.mark.parametrize("address", ["50050", "127.0.0.1:x", "127.0.0.1:99999", "192.0.2.1:0"])
def test_an_address_that_cannot_be_bound_fails(address: str) -> None:
    assert doctor.port(address).state == "fail"


def test_memory_is_held_against_what_is_needed() -> None:
    available = psutil.virtual_memory().available
    assert doctor.memory(available // 4).state == "ok"
    assert doctor.memory(available * 4).state == "fail"
    assert doctor.memory(available * 4).remedy


def test_disk_counts_where_the_folder_will_be(tmp_path: Path) -> None:
    later = tmp_path / "not/yet"
    assert doctor.disk("disk", later, needed=1).state == "ok"
    assert doctor.disk("disk", later, needed=2**60).state == "fail"
    assert not later.exists()
    file = tmp_path / "file"
    file.touch()
    assert "cannot be written" in doctor.disk("disk", file / "below").found


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lensora")), "doctor", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )  # fmt: skip


def test_the_command_fails_and_says_what_to_do(tmp_path: Path) -> None:
    with listening() as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        nothing = {"LENSORA_MODELS": str(tmp_path), "__EGL_VENDOR_LIBRARY_FILENAMES": str(tmp_path / "none")}
        done = run("--json", "--listen", address, "--home", str(tmp_path), **nothing)
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    failed = {check["name"] for check in said["checks"] if check["state"] == "fail"}
    assert failed == {"rendering (EGL)", f"port {address}", *(f"model {name}" for name in models.needed())}
    assert said["healthy"] is False
    assert all(check["remedy"] for check in said["checks"] if check["state"] != "ok")


def test_the_command_is_content_where_all_is_there(tmp_path: Path) -> None:
    done = run("--listen", "127.0.0.1:0", "--home", str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert "All that is needed is here." in done.stdout


def test_the_table_puts_the_remedy_below(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [doctor.Finding("one", "ok", "here"), doctor.Finding("two", "fail", "[gone]", "fetch [it]")]
    doctor.print_table(findings, Console(width=100))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == [["ok", "one", "here"], ["fail", "two", "[gone]"], ["→", "fetch", "[it]"]]
    assert lines[3][0] == "1"
    assert not doctor.healthy(findings)
