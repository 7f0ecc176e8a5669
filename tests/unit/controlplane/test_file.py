"""The file source: what is read, looked up and written."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from controlplane.settings import Settings
from controlplane.sources.file import FileSource
from controlplane.state import State
from lensora.core.errors import FailedPrecondition

MESH = "services: {a: {stable: {weight: 100, endpoints: ['one.example:1', '10.0.0.9:2', '[fd00::1]:3']}}}\n"


async def until(holds: Any) -> None:
    """Wait for it."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_names_are_looked_up_again_and_one_that_is_lost_keeps_its_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, list[str]] = {"one.example": ["10.0.0.1"]}
    asked = 0

    async def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        nonlocal asked
        asked += 1
        if host not in known:
            raise socket.gaierror("no such name")
        return [(None, None, None, "", (address, 0)) for address in known[host]]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    file = tmp_path / "mesh.yaml"
    file.write_text(MESH)
    state = State()
    source = FileSource(state, Settings(mesh=file, poll_seconds=0.01, resolve_seconds=0.02))
    task = asyncio.create_task(source.run())
    try:
        fixed: Any = (("10.0.0.9", 2), ("fd00::1", 3))
        await until(lambda: state.places.get(("a", "stable")) == (("10.0.0.1", 1), *fixed))
        known["one.example"] = ["10.0.0.1", "10.0.0.2"]
        await until(lambda: len(state.places[("a", "stable")]) == 4)
        known.clear()
        before = asked
        await until(lambda: asked > before + 2)
        assert len(state.places[("a", "stable")]) == 4
        file.write_text(MESH.replace("one.example", "two.example"))
        await until(lambda: state.places[("a", "stable")] == fixed)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_weights_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    source = FileSource(State(), Settings(mesh=tmp_path / "nowhere/mesh.yaml"))
    with pytest.raises(FailedPrecondition) as refused:
        await source.set_weights("a", {"stable": 0, "canary": 100})
    assert refused.value.reason == "MESH_READ_ONLY"
