"""Models whose process dies, models that are unloaded under load: requests that try again lose nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from lensora.core.errors import Unavailable
from lensora.runtime.triton import Client
from lensora.runtime.tritonserver import SHARED_MEMORY

SLEEP, KILL = -1.0, -2.0


def row(*numbers: float) -> dict[str, NDArray[Any]]:
    return {"x": np.array([numbers], np.float32)}


def told(triton: Any, model: str) -> list[str]:
    """What the supervisor has logged of a model."""
    events = [json.loads(line) for line in (triton.folder / "supervisor.log").read_text().splitlines()]
    return [event["event"] for event in events if event.get("model") == model]


async def answers(client: Client, numbers: range) -> list[list[float]]:
    asked = [client.infer("echo", row(number, SLEEP), seconds=120) for number in numbers]
    return [answer.tensors["y"][0].tolist() for answer in await asyncio.gather(*asked)]


async def test_a_killed_model_comes_back_and_no_request_is_lost(client: Client, hasty: Client, triton: Any) -> None:
    before, earlier = triton.stub("echo"), told(triton, "echo")
    work = asyncio.create_task(answers(client, range(1, 25)))
    with pytest.raises(Unavailable) as crash:
        await hasty.infer("echo", row(KILL), seconds=120)
    assert crash.value.reason == "MODEL_CRASHED"
    assert await work == [[number, SLEEP] for number in range(1, 25)]
    after = triton.stub("echo")
    assert after.pid != before.pid and not (before.is_running() and before.status() != psutil.STATUS_ZOMBIE)
    assert await hasty.is_ready("echo")
    assert told(triton, "echo")[len(earlier) :] == ["model crashed", "model loaded again"]


async def test_a_streaming_models_crash_is_noticed_too(client: Client, triton: Any) -> None:
    tensors, begun, earlier = {"x": np.ones(1, np.float32)}, asyncio.Event(), told(triton, "steps")
    parameters = {"steps": 200, "seconds": 0.02}
    work = asyncio.create_task(client.stream("steps", tensors, parameters, lambda *_: begun.set(), seconds=120))
    await begun.wait()
    victim = triton.stub("steps")
    victim.kill()
    assert (await work).tensors["y"].tolist() == [2.0]
    assert triton.stub("steps").pid != victim.pid
    assert told(triton, "steps")[len(earlier) :] == ["model crashed", "model loaded again"]


async def test_unloading_under_load_lets_what_runs_end_and_what_comes_wait(client: Client) -> None:
    work = asyncio.create_task(answers(client, range(1, 40)))
    await client.infer("echo", row(0))
    await client.unload("echo")
    late = asyncio.create_task(answers(client, range(100, 104)))
    await client.load("echo")
    assert await work == [[number, SLEEP] for number in range(1, 40)]
    assert await late == [[number, SLEEP] for number in range(100, 104)]


async def test_a_killed_server_is_started_again_at_the_same_address(
    supervise: Any, triton: Any, tmp_path: Path
) -> None:
    process, running = supervise(tmp_path, triton.repository, "versioned")
    client = Client(running.address, retry_seconds=60)
    try:
        await client.load("echo")
        await asyncio.sleep(1.0)  # the watchdog sees it
        family = [running.server, *running.server.children(recursive=True)]
        running.server.kill()
        assert (await client.infer("versioned", row(1), seconds=120)).version == "2"
        async with asyncio.timeout(60):
            while not {"echo", "versioned"} <= {state.name for state in await client.states() if state.is_ready}:  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # it was loaded later than at the start
        assert running.server not in psutil.Process(process.pid).children()
        regions = await asyncio.to_thread(lambda: list(SHARED_MEMORY.glob(f"lensora_triton_{process.pid}_*")))
        assert regions
    finally:
        await client.close()
        await asyncio.to_thread(process.communicate, timeout=30)
    _, left = await asyncio.to_thread(psutil.wait_procs, family, timeout=15)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
    assert not any(region.exists() for region in regions)


async def test_a_killed_supervisor_takes_its_server_along(supervise: Any, triton: Any, tmp_path: Path) -> None:
    process, running = supervise(tmp_path, triton.repository, "versioned")
    family = [running.server, *running.server.children(recursive=True)]
    process.kill()
    await asyncio.to_thread(process.communicate)
    _, left = await asyncio.to_thread(psutil.wait_procs, family, timeout=30)
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
