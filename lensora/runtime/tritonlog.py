"""Triton's log as ours: one JSON object a line, like every other process's."""

from __future__ import annotations

import asyncio
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

_LINE = re.compile(r'([IWEF])\d{4} [\d:.]+ \d+ ([\w.]+:\d+)\] *"?(.*?)"?$')
"""glog's: letter, date, time, thread, source, message."""

_LEVELS = {"I": "info", "W": "warning", "E": "error", "F": "critical"}
_LONGEST = 4000


class Log:
    """A file that a server's output is written to."""

    def __init__(self, path: Path) -> None:
        """``path`` is appended to."""
        self.path = path
        self._task: asyncio.Task[None] | None = None

    async def follow(self) -> IO[bytes]:
        """Write what comes through a new pipe, until nobody holds its other end.

        It is none of asyncio's subprocess pipes, because with those a process has not ended while its children live.

        Returns:
            The other end, for the server; to be closed here.
        """
        ours, theirs = os.pipe()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(ours, "rb"))
        self._task = asyncio.create_task(self._write(reader))
        return os.fdopen(theirs, "wb")

    async def ended(self) -> None:
        """Wait until nobody can write any more."""
        if self._task is not None:
            await self._task

    async def _write(self, output: asyncio.StreamReader) -> None:
        rest = b""
        with self.path.open("a") as file:
            while chunk := await output.read(1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                _write(file, lines)
                rest = rest[-_LONGEST:]
            _write(file, [rest] if rest else [])


def _write(file: IO[str], lines: list[bytes]) -> None:
    for line in lines:
        text = line.decode(errors="replace").rstrip()
        # its tables repeat what its lines say
        if text and not text.startswith(("+--", "| ")) and (event := as_event(text[:_LONGEST])):
            file.write(event + "\n")
    file.flush()


def as_event(line: str) -> str:
    """One line of Triton's, or of a model's traceback, as JSON; empty for a line that says nothing."""
    found = _LINE.match(line)
    level, source, message = found.groups() if found else ("I", "", line)
    if not message:
        return ""
    event = {"event": message, "service": "triton", "level": _LEVELS[level], "timestamp": _now()}
    return json.dumps(event | {"source": source} if source else event)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
