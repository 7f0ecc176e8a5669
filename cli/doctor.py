"""``lensora doctor``: whether this machine has what the six processes need, and what to do where it has not.

Every check tries the thing itself: a frame is drawn and encoded, a port is bound, a model file is hashed.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lensora.core import models

State = Literal["ok", "warn", "fail"]

ENCODERS = {"libx264": "yuv420p", "libvpx-vp9": "yuva420p"}
"""What films are encoded with, and the pixels they are given: the film, and the film with alpha."""

TESTED_PYTHON = (3, 11)
"""What the locked requirements were made for."""

PEAK_BYTES = 2_100_000_000
"""The most memory that all processes held at once (``peak_pss_mb`` of bench.e2e; README, Figures)."""

FREE_BYTES = 500_000_000
"""Disk space under which even a few jobs may not fit: one leaves some 20 MB."""

_RENDER_SECONDS = 60
_LAST_PORT = 65535
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    state: State
    """``fail``: something needed is missing; ``warn``: it works, but not everywhere or not for long."""
    found: str
    remedy: str = ""
    """What to do about it; empty when all is well."""


def examine(listen: Sequence[str], home: Path) -> list[Finding]:
    """Every check.

    Args:
        listen: the ``host:port`` that ``lensora up`` would bind.
        home: the folder that it would keep its data in; need not exist.
    """
    return [
        python(),
        rendering(),
        *(encoder(name, pixels) for name, pixels in ENCODERS.items()),
        *(model(name) for name in models.needed()),
        *(port(address) for address in listen),
        memory(),
        disk("disk, data", home),
        disk("disk, temporary", Path(tempfile.gettempdir())),
    ]


def python() -> Finding:
    """Another Python than the tested one may do, but its packages are not the locked ones."""
    found = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    if sys.version_info[:2] == TESTED_PYTHON:
        return Finding("python", "ok", found)
    wanted = ".".join(map(str, TESTED_PYTHON))
    return Finding("python", "warn", found, f"tested with Python {wanted}: make setup PYTHON=python{wanted}")


def rendering() -> Finding:
    """Draw with the renderer's own context in a process of its own; inherits this one's environment."""
    remedy = (
        "install Mesa's OpenGL (Debian: apt-get install libegl1 libgl1) or the graphics driver's EGL, version 4.5; "
        "unset __EGL_VENDOR_LIBRARY_FILENAMES and LD_LIBRARY_PATH if they hide it"
    )
    command = [sys.executable, "-m", "cli.rendering"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_RENDER_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return Finding("rendering (EGL)", "fail", f"nothing drawn within {_RENDER_SECONDS} s", remedy)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return Finding("rendering (EGL)", "fail", said[-1] if said else f"ended with {done.returncode}", remedy)
    context = json.loads(done.stdout)
    return Finding("rendering (EGL)", "ok", f"{context['renderer']}, OpenGL {context['version']}")


def encoder(name: str, pixels: str) -> Finding:
    """Encode one frame of those pixels, all zero."""
    title = f"encoder {name}"
    remedy = "reinstall PyAV, whose wheel brings it (ffmpeg is not needed): pip install --force-reinstall --no-deps av"
    try:
        import av  # the check is whether this works

        context: Any = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = 64, 64, pixels
        context.time_base = Fraction(1, 24)
        frame = av.VideoFrame(64, 64, pixels)
        frame.pts = 0
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        packets = [*context.encode(frame), *context.encode(None)]
    except (ImportError, ValueError, OSError) as error:  # PyAV's errors are ValueErrors and OSErrors
        return Finding(title, "fail", str(error) or type(error).__name__, remedy)
    return Finding(title, "ok", f"one frame in {sum(packet.size for packet in packets)} bytes, PyAV {av.__version__}")


def model(name: str) -> Finding:
    """Hash the file."""
    found, file = models.status(name), models.folder() / models.get(name).filename
    title = f"model {name}"
    if found == "present":
        return Finding(title, "ok", f"whole, {models.get(name).size / 1e6:.1f} MB")
    said = f"not at {file}" if found == "missing" else f"{file} is not the published file"
    return Finding(title, "fail", said, f"{models.REMEDY} {name}")


def port(address: str) -> Finding:
    """Bind it, as ``lensora up`` would, and let go."""
    title = f"port {address}"
    remedy = "choose another with: lensora up --listen HOST:PORT"
    match = re.fullmatch(r"(.+):(\d{1,5})", address)
    if match is None or int(match[2]) > _LAST_PORT:
        return Finding(title, "fail", "not HOST:PORT", remedy)
    host, number = match[1].strip("[]"), int(match[2])
    try:
        with socket.create_server((host, number), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return Finding(title, "ok", "free")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return Finding(title, "fail", error.strerror or str(error), remedy)
    holder = _listener(number)
    if holder is None:
        return Finding(title, "fail", "taken, by a process of another user", remedy)
    command = " ".join(holder.cmdline())[:80]
    if command.endswith("-m gateway"):
        said = f"a Lensora gateway listens here already, process {holder.pid}"
        return Finding(title, "warn", said, f"use it: lensora make PHOTO --server {address}; or stop it first")
    return Finding(title, "fail", f"taken by process {holder.pid}: {command}", f"stop it, or {remedy}")


def _listener(number: int) -> psutil.Process | None:
    """Who listens on the port, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", None) == number
            if listens and connection.pid:
                return psutil.Process(connection.pid)
    except psutil.Error:
        return None
    return None


def memory(peak: int = PEAK_BYTES) -> Finding:
    """What is available, the container's limit considered, against ``peak`` bytes."""
    available = psutil.virtual_memory().available
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else "max"
    if limit != "max":
        available = min(available, int(limit))
    said = f"{available / 1e9:.1f} GB available; the six processes were seen to need {peak / 1e9:.1f} GB"
    if available >= 1.25 * peak:
        return Finding("memory", "ok", said)
    state: State = "warn" if available >= peak else "fail"
    return Finding("memory", state, said, "close other programs, or give the machine or the container more memory")


def disk(title: str, folder: Path, needed: int = FREE_BYTES) -> Finding:
    """Whether a file can be made in ``folder`` or where it will be made, and ``needed`` bytes fit."""
    there = folder
    while not there.exists():
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding(title, "fail", f"{there} cannot be written to", "choose another: lensora up --home, or TMPDIR")
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:.1f} GB free at {there}"
    if free >= 4 * needed:
        return Finding(title, "ok", said)
    return Finding(
        title, "warn" if free >= needed else "fail", said, f"make room: {4 * needed / 1e9:.0f} GB are plenty"
    )


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing that is needed is missing."""
    return all(finding.state != "fail" for finding in findings)


def as_json(findings: Sequence[Finding]) -> str:
    """One JSON object."""
    return json.dumps({"healthy": healthy(findings), "checks": [asdict(finding) for finding in findings]})


def print_table(findings: Sequence[Finding], console: Console) -> None:
    """A line a check, with what to do below those that are not well."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in findings:
        found = Text(finding.found)
        if finding.remedy:
            found.append(f"\n→ {finding.remedy}", style="bold")
        table.add_row(Text(finding.state, style=_COLOURS[finding.state]), finding.name, found)
    console.print(table)
    failed = sum(finding.state == "fail" for finding in findings)
    console.print("All that is needed is here." if not failed else f"{failed} needed thing(s) missing; see → above.")
