"""Every function measures one thing on a fresh mesh with TLS: real clients in processes of their own, the real control
plane in another, scripted instances here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from controlplane.wire import admin_pb2
from lensora.runtime import mesh as names
from tests.mesh import toys
from tests.mesh.world import Caller, World, codes, half, running, who

Figures = dict[str, float]
Measure = Callable[[], Coroutine[Any, Any, Figures]]

CALLS = 2000
_MAIN = "import sys; from cli.main import main; sys.argv[0] = 'lensora'; main()"


@contextlib.asynccontextmanager
async def _mesh() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder), tls=True) as world:
            yield world


async def _weigh(world: World, service: str, canary: int) -> None:
    async with world.admin() as stub:
        weights = {"stable": 100 - canary, "canary": canary}
        await stub.SetWeights(admin_pb2.SetWeightsRequest(service=service, weights=weights))


def _failed(calls: list[list[Any]]) -> int:
    return len(calls) - codes(calls)["OK"]


async def _settled(caller: Caller, name: str) -> None:
    while set(who(await caller.calls(10))) != {name}:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.05)


async def split() -> Figures:
    """Percentage points between the share that was set and the one of 2,000 calls, at worst; seconds from the command
    to the first call that obeys a new one, at worst of six.
    """
    worst, delays = 0.0, []
    async with _mesh() as world:
        stable, canary = await world.instance("toy", "stable"), await world.instance("toy", "canary")
        world.configure("toy", [stable], [canary])
        await world.start_control()
        caller = await world.caller("toy")
        await caller.calls(1, ready=True)
        for share in (10, 50, 100):
            await _weigh(world, "toy", share)
            await asyncio.sleep(1.0)
            served = who(await caller.calls(CALLS, workers=8))
            worst = max(worst, abs(100 * served["canary"] / CALLS - share))
        for turn in range(6):
            share, name = (0, "stable") if turn % 2 == 0 else (100, "canary")
            caller.order(f"turn {turn}", pause=0.002)
            await asyncio.sleep(0.3)
            commanded = time.monotonic()
            await _weigh(world, "toy", share)
            await _settled(caller, name)
            calls = await caller.stop(f"turn {turn}")
            delays.append(min(ended for _, ended, served_by, _ in calls if served_by == name) - commanded)
    return {"split_error_points": worst, "reweight_seconds": max(delays)}


async def rollout() -> Figures:
    """Calls that failed while both instances of a service were restarted in turn, under load, 2,000 calls at least."""
    async with _mesh() as world:
        both = [await world.instance("toy", name) for name in ("first", "second")]
        world.configure("toy", both)
        await world.start_control()
        caller = await world.caller("toy")
        await caller.calls(1, ready=True)
        load = caller.order("load", workers=4)
        begun = sum(one.calls for one in both)
        restarts = 0
        while restarts < 4 or sum(one.calls for one in both) - begun < CALLS:
            await both[restarts % 2].restart()
            restarts += 1
            await asyncio.sleep(0.5)
        calls = await caller.stop("load")
        assert load.done()  # noqa: S101
    return {"failed_calls_in_rollout": _failed(calls), "rollout_calls": len(calls), "rollout_restarts": restarts}


async def ejection(seconds: float = 15.0) -> Figures:
    """A canary with half of the calls fails every other: seconds to its last answer, with the settings that a mesh has
    where it says nothing; and the share of calls that failed in what was left of 15 seconds.
    """
    async with _mesh() as world:
        stable, canary = await world.instance("toy", "stable"), await world.instance("toy", "canary")
        canary.fails = half
        world.configure("toy", [stable], [canary], share=50)
        await world.start_control()
        caller = await world.caller("toy")
        await caller.calls(1, ready=True, metadata={names.CANARY: "never"})
        caller.order("load", workers=4, pause=0.005)
        await asyncio.sleep(seconds)
        calls = sorted(await caller.stop("load"))
    begun = calls[0][0]
    of_canary = [call for call in calls if call[2] != "stable"]
    quiet = next(
        one[1]
        for one, following in zip(of_canary, [*of_canary[1:], None], strict=True)
        if following is None or following[0] - one[1] > 1.0
    )
    after = [call for call in calls if call[0] > quiet]
    return {
        "ejection_seconds": quiet - begun,
        "failures_after_ejection_share": _failed(after) / max(1, len(after)),
        "calls_after_ejection": len(after),
    }


async def control_plane_down() -> Figures:
    """Calls that failed without a control plane: 2,000 of a client that was in the mesh, and 200 of one that starts."""
    async with _mesh() as world:
        one = await world.instance("toy", "stable")
        world.configure("toy", [one])
        await world.start_control()
        warm = await world.caller("toy")
        await warm.calls(1, ready=True)
        await world.kill_control()
        calls = await warm.calls(CALLS, workers=4)
        cold = await world.caller("toy", one.address)
        calls += await cold.calls(200, workers=4, ready=True)
    return {"control_plane_down_failures": _failed(calls)}


async def cert_rotation() -> Figures:
    """Calls that failed while all certificates were issued anew, and instances restarted so that all connect again."""
    async with _mesh() as world:
        both = [await world.instance("toy", name) for name in ("first", "second")]
        world.configure("toy", both)
        await world.start_control()
        caller = await world.caller("toy")
        await caller.calls(1, ready=True)
        caller.order("load", workers=4)
        for _ in range(3):
            for name in ("toy", "gateway", "controlplane"):
                world.issue(name)
            for one in both:
                await one.restart()
                await asyncio.sleep(0.5)
            await asyncio.sleep(1.5)  # clients look at their files every second here
        calls = await caller.stop("load")
    return {"cert_rotation_failures": _failed(calls), "cert_rotation_calls": len(calls)}


async def rollback() -> Figures:
    """`lensora canary run` on a canary that makes slabs once it gets live calls: seconds from its first slab to when it
    has no share any more and has answered its last live call; and its share of all live calls in the walk.
    """
    live = asyncio.Event()
    slabs: list[float] = []

    def depth() -> float:
        if not live.is_set():
            return 0.8
        slabs.append(time.monotonic())
        return 0.1

    async with _mesh() as world:
        await toys.before_mesh3d(world)
        stable, _ = await toys.mesh3d(world, "stable", lambda: 0.8)
        canary, _ = await toys.mesh3d(world, "canary", depth)
        world.configure("mesh3d", [stable], [canary])
        await world.start_control()
        caller = await world.caller("mesh3d")
        await caller.calls(1, ready=True)
        caller.order("load", workers=2, pause=0.01)
        walking = asyncio.create_task(_walk(world))
        while not canary.calls:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        begun = time.monotonic()
        live.set()
        await world.until(lambda status: slabs and not _canary_weight(status))
        back = time.monotonic()
        status = await walking
        await asyncio.sleep(1.0)
        calls = await caller.stop("load")
    if status != 3:
        raise RuntimeError(f"the bad canary was not taken back: exit status {status}")
    of_canary = [call for call in calls if call[2] == "canary"]
    of_walk = [call for call in calls if call[0] >= begun]
    return {
        "canary_rollback_seconds": max(back, max(call[1] for call in of_canary)) - slabs[0],
        "bad_canary_requests_share": len(of_canary) / len(of_walk),
        "calls_in_walk": len(of_walk),
    }


def _canary_weight(status: admin_pb2.GetStatusResponse) -> int:
    (mesh3d,) = (one for one in status.services if one.name == "mesh3d")
    return next(track.weight for track in mesh3d.tracks if track.name == "canary")


async def _walk(world: World) -> int:
    """The command, as an operator gives it, with two photos; its exit status."""
    photos, operator = world.folder / "photos", str(world.certificates("operator"))
    photos.mkdir()
    for name in ("first", "second"):
        (photos / f"{name}.png").write_bytes(toys.photo())
    environment = {
        "GRPC_XDS_BOOTSTRAP_CONFIG": names.bootstrap(f"dns:///{world.address}", "operator", operator),
        "GATEWAY_HOME": str(world.folder / "home"),
        "GATEWAY_CERTIFICATES": operator,
        "LENSORA_CERTIFICATES": operator,
        "LENSORA_CONTROLPLANE": world.address,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = ["canary", "run", "mesh3d", "--photos", str(photos), "--hold", "5"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _MAIN, *command, cwd=world.folder, env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await process.wait()


async def overhead(rounds: int = 5, calls: int = 500) -> Figures:
    """Milliseconds of a client's first call through the mesh, with all that it must learn for it, at the median of five
    processes; and what a later call takes longer than over a direct channel, medians in turn.
    """
    first, extra = [], []
    async with _mesh() as world:
        one = await world.instance("toy", "stable")
        world.configure("toy", [one])
        await world.start_control()
        for _ in range(rounds):
            through = await world.caller("toy", one.address)
            direct = await world.caller("toy", one.address, mesh_wide=False)
            ((begun, ended, served_by, code),) = await through.calls(1)
            if (served_by, code) != ("stable", "OK"):
                raise RuntimeError(f"the first call failed: {code}")
            first.append(1000 * (ended - begun))
            await direct.calls(1)
            medians = []
            for caller in (through, direct, direct, through):
                answered = await caller.calls(calls)
                medians.append(statistics.median(1000 * (ended - begun) for begun, ended, *_ in answered))
            extra.append((medians[0] + medians[3] - medians[1] - medians[2]) / 2)
    return {"first_call_ms": statistics.median(first), "overhead_ms": statistics.median(extra)}


MEASURES: dict[str, Measure] = {
    "split": split,
    "rollout": rollout,
    "ejection": ejection,
    "control_plane_down": control_plane_down,
    "cert_rotation": cert_rotation,
    "rollback": rollback,
    "overhead": overhead,
}
