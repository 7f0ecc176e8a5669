"""What Triton costs and how it recovers, with the real server on this machine.

``python -m bench.triton --json``; the last line is one JSON object ``{"figures": {...}}``. A model that does nothing
shows the cost of a call: a small one, and one that brings 12 MiB to the model and takes a number back. U²-Net-p at
concurrency 16 shows what is left of the throughput that the same network has in this process; a model whose process is
killed under load shows for how long nobody answers, and whether a request is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from bench.machine import machine
from lensora.core import models
from lensora.core.engines import NullContext
from lensora.core.errors import LensoraError
from lensora.core.networks import LiteRt, Network, Onnx, Ssd
from lensora.core.photo import decode
from lensora.runtime import tritonserver
from lensora.runtime.triton import Client
from lensora.runtime.tritonserver import LIGHT, REPOSITORY, Server

PHOTOS = Path(__file__).parents[1] / ".cache/photos"
IDENTITY = Path(__file__).parent / "models"
CONCURRENCY, REQUESTS = 16, 48
SMALL_CALLS, LARGE_CALLS, STARTS, KILLS = 300, 30, 3, 3
LARGE = 12 * 2**20 // 4
"""float32 numbers in 12 MiB: one picture of 1024², as a matting network takes it."""

PROMPT_SECONDS = 0.25
"""Within which a model that is well answers, however busy."""

_QUIET_SECONDS = 1.0
"""Of load before a kill, and after the model is back."""


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Server, float]]:
    """A server with the light models and the one that does nothing; and how long it took to be ready, in seconds."""
    repository = folder / "repository"
    for source, names in ((REPOSITORY, LIGHT), (IDENTITY, ("identity",))):
        for name in names:
            shutil.copytree(source / name, repository / name, dirs_exist_ok=True)
    environment = await asyncio.to_thread(tritonserver.install)
    start = time.perf_counter()
    async with tritonserver.running(
        folder / "triton.log", (*LIGHT, "identity"), repository, environment=environment
    ) as server:
        yield server, time.perf_counter() - start


async def overhead_ms(client: Client, numbers: int, calls: int) -> float:
    """Median of a call that brings so many float32 numbers to the model, one call after the other."""
    tensors = {"x": np.zeros((1, numbers), np.float32)}
    times = []
    for _ in range(calls + 3):
        start = time.perf_counter()
        await client.infer("identity", tensors, ["size"])
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:]) * 1000


def pictures() -> list[NDArray[np.uint8]]:
    """The photographs that ``make photos`` fetches."""
    return [decode(path.read_bytes(), NullContext()) for path in sorted(PHOTOS.glob("*.png"))[:6]]


def square(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Squeezed, as all three networks take them."""
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def planes(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(3, 320, 320), about as U²-Net-p takes it."""
    return np.ascontiguousarray((square(picture, 320).astype(np.float32) / 255 - 0.45).transpose(2, 0, 1) / 0.225)


async def parity(client: Client) -> float:
    """The largest difference of any number that the hosted and the embedded networks say of the photographs."""
    embedded: list[tuple[str, str, str, Network, Callable[[NDArray[np.uint8]], NDArray[Any]]]] = [
        ("saliency_u2netp", "planes", "map", Onnx(models.path("u2netp"), 2), planes),
        (
            "detect_ssd",
            "picture",
            "rows",
            Ssd(models.path("ssd-mobilenet-v2"), models.path("ssd-mobilenet-v2-text")),
            lambda picture: square(picture, 300),
        ),
        (
            "classify_efficientnet",
            "picture",
            "steps",
            LiteRt(models.path("efficientnet-lite3"), 2),
            lambda picture: square(picture, 280),
        ),
    ]
    worst = 0.0
    for model, takes, gives, network, prepare in embedded:
        batch = np.stack([prepare(picture) for picture in pictures()])
        expected = await asyncio.to_thread(network, batch, NullContext())
        answer = await client.infer(model, {takes: batch}, [gives], seconds=120)
        worst = max(worst, float(np.abs(answer.tensors[gives].astype(np.float64) - expected).max()))
    return worst


async def throughput(client: Client) -> tuple[float, float]:
    """Maps a second at concurrency 16: from Triton, and from the same network in threads of this process."""
    batch = planes(pictures()[0])[None]
    network = Onnx(models.path("u2netp"), 2)
    loop = asyncio.get_running_loop()

    async def rate(once: Callable[[], Awaitable[Any]]) -> float:
        await once()
        turn = asyncio.Semaphore(CONCURRENCY)

        async def one() -> None:
            async with turn:
                await once()

        start = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(REQUESTS)))
        return REQUESTS / (time.perf_counter() - start)

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        hosted = await rate(lambda: client.infer("saliency_u2netp", {"planes": batch}, seconds=300))
        own = await rate(lambda: loop.run_in_executor(pool, network, batch, NullContext()))
    return hosted, own


async def recovery(client: Client, server: Server) -> tuple[float, float, int]:
    """Kill the model's process under load.

    Returns:
        Seconds from the kill until a call was answered within ``PROMPT_SECONDS``; the longest that a call of the load
        took, because those that waited in the dead model's queue learn of it late; and how many of them failed.
    """
    lost, longest = 0, 0.0
    done = asyncio.Event()

    async def load(number: int) -> None:
        nonlocal lost, longest
        while not done.is_set():
            start = time.perf_counter()
            try:
                answer = await client.infer("identity", {"x": np.full((1, 8), number, np.float32)})
                lost += not (answer.tensors["y"] == number).all()
            except LensoraError:
                lost += 1
            longest = max(longest, time.perf_counter() - start)

    workers = [asyncio.create_task(load(number)) for number in range(CONCURRENCY)]
    await asyncio.sleep(_QUIET_SECONDS)
    stub(server, "identity").kill()
    killed = time.perf_counter()
    hasty = Client(server.address, retry_seconds=0)
    while not await prompt(hasty):
        pass
    back = time.perf_counter()
    await asyncio.sleep(_QUIET_SECONDS)
    done.set()
    await asyncio.gather(*workers)
    await hasty.close()
    return back - killed, longest, lost


async def prompt(client: Client) -> bool:
    """Whether a call is answered at once."""
    try:
        await client.infer("identity", {"x": np.zeros((1, 8), np.float32)}, seconds=PROMPT_SECONDS)
    except LensoraError:
        await asyncio.sleep(0.01)
        return False
    return True


def stub(server: Server, model: str) -> psutil.Process:
    """The process that a model runs in."""
    if server.process is None:
        raise LookupError("the server is down")
    for child in psutil.Process(server.process.pid).children(recursive=True):
        if child.status() != psutil.STATUS_ZOMBIE and f"/{model}/" in " ".join(child.cmdline()[1:2]):
            return child
    raise LookupError(model)


async def measure() -> dict[str, float]:
    """All figures."""
    figures: dict[str, float] = {}
    starts = []
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(STARTS - 1):
            async with serving(Path(scratch)) as (_, seconds):
                starts.append(seconds)
        async with serving(Path(scratch)) as (server, seconds):
            figures["start_seconds"] = statistics.median([*starts, seconds])
            client = Client(server.address)
            figures["overhead_ms_small"] = await overhead_ms(client, 8, SMALL_CALLS)
            figures["overhead_ms_12mb"] = await overhead_ms(client, LARGE, LARGE_CALLS)
            figures["parity_max_abs_diff"] = await parity(client)
            hosted, own = await throughput(client)
            print(f"maps a second: {hosted:.2f} in Triton, {own:.2f} in this process")
            figures["throughput_vs_in_process"] = hosted / own
            recoveries = [await recovery(client, server) for _ in range(KILLS)]
            figures["stub_recovery_seconds"] = max(seconds for seconds, _, _ in recoveries)
            figures["longest_call_in_recovery_seconds"] = max(longest for _, longest, _ in recoveries)
            figures["requests_lost_in_recovery"] = sum(lost for _, _, lost in recoveries)
            await client.close()
    return figures


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    print(f"machine: {machine()}")
    figures = {name: round(value, 6) for name, value in asyncio.run(measure()).items()}
    for name, value in figures.items():
        print(f"{name:<34}{value:.4f}")
    if arguments.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
