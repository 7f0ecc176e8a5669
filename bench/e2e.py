"""The whole path on one machine: seconds a step, CPU and memory a process, cold and warm.

``python -m bench.e2e --json [PHOTO ...]``; the last line is one JSON object ``{"figures": {...}}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.machine import machine
from bench.memory import Watch
from cli import make, supervisor

PROMPT = "on a marble countertop with soft natural light"
INIT_CALLS = 20
READY_RUNS = 3


def photos() -> list[Path]:
    """The three photographs that `make photos` fetches."""
    folder = Path(__file__).parents[1] / ".cache/photos"
    return [folder / f"{name}.png" for name in ("air-balloon", "astronaut", "cocktail")]


async def ready_seconds() -> float:
    """From the start of six processes to every engine loaded; the median of some runs."""
    runs = []
    for _ in range(READY_RUNS):
        with tempfile.TemporaryDirectory() as home:
            start = time.monotonic()
            async with supervisor.running(Path(home)) as system:
                await system.ready()
                runs.append(time.monotonic() - start)
    return statistics.median(runs)


async def init_seconds(address: str, photo: Path) -> float:
    """95th percentile of CreateSession over uploads that differ, so that no result is used again."""
    picture = cv2.imread(str(photo))
    assert picture is not None, photo  # noqa: S101
    studio, times = make.studio_at(address, ""), []
    for number in range(INIT_CALLS):
        marked = picture.copy()
        marked[0, :, 0] = np.uint8(number)
        _, data = cv2.imencode(".jpg", marked, [cv2.IMWRITE_JPEG_QUALITY, 95])
        start = time.monotonic()
        await studio.init(bytes(data))
        times.append(time.monotonic() - start)
    await studio.close()
    return float(np.percentile(times, 95))


@dataclass(frozen=True, slots=True)
class Film:
    """What the figures are about; those of the README are for these defaults."""

    camera: str = "turntable"
    size: str = "1280x720"
    seconds: float = 5.0


def order(photo: bytes, out: Path, server: str, seed: int, film: Film) -> make.Order:
    """A job; seeds that differ share no scene, mesh or film."""
    return make.order(photo, PROMPT, film.camera, None, film.size, film.seconds, seed, out, server)


def mirrored(photo: Path) -> bytes:
    """Another photo to the stage cache, as like this one as can be; for warming up."""
    picture = cv2.imread(str(photo))
    assert picture is not None, photo  # noqa: S101
    return bytes(cv2.imencode(".png", cv2.flip(picture, 1))[1])


def touched(photo: Path) -> bytes:
    """The same photo to the eye, and another to the stage cache: its top row has changed."""
    picture = cv2.imread(str(photo))
    assert picture is not None, photo  # noqa: S101
    picture[0] ^= 1
    return bytes(cv2.imencode(".png", picture)[1])


def cold_seconds(photo: Path, film: Film) -> float:
    """The command, with nothing running, in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            str(Path(sys.executable).with_name("lensora")),
            "make",
            str(photo),
            "--background",
            PROMPT,
            "--size",
            film.size,
            "--duration",
            str(film.seconds),
            "--out",
            out,
        ]
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - start


async def measure(chosen: list[Path], film: Film, console: Console) -> dict[str, float]:
    """All figures; prints the tables on the way."""
    figures = {"ready_seconds": await ready_seconds()}
    quiet = Console(quiet=True)
    with tempfile.TemporaryDirectory() as folder:
        async with supervisor.running(Path(folder)) as system:
            await system.ready()
            out = Path(folder) / "out"
            warming = order(mirrored(chosen[0]), out, system.address, 0, Film("turntable", "256x256", 1.0))
            await make.make(warming, quiet)  # every engine has run once
            figures["init_seconds"] = max([await init_seconds(system.address, photo) for photo in chosen])
            jobs = [(photo, photo.read_bytes(), film) for photo in chosen]
            jobs.append((chosen[0], touched(chosen[0]), replace(film, camera="cinematic")))
            totals, peaks = [], []
            for seed, (photo, data, wanted) in enumerate(jobs, start=1):
                with Watch(system.pids()) as watch:
                    made = await make.make(order(data, out, system.address, seed, wanted), quiet)
                print_run(f"{photo.name}, {wanted.camera}", made, watch, console)
                totals.append(made.seconds["total"])
                peaks.append(watch.peak_mb)
    figures["warm_seconds"] = statistics.median(totals[:-1])
    figures["warm_seconds_cinematic"] = totals[-1]
    figures["peak_pss_mb"] = max(peaks)
    figures["cold_seconds"] = statistics.median(cold_seconds(photo, film) for photo in chosen)
    return figures


def print_run(title: str, made: make.Made, watch: Watch, console: Console) -> None:
    """One job's seconds by step, and what each process used."""
    steps = Table("step", "seconds", title=f"{title}: {made.mesh.verdict}", box=None)
    for name, seconds in made.seconds.items():
        steps.add_row(name, f"{seconds:.2f}")
    processes = Table("process", "CPU seconds", "peak PSS MB", box=None)
    for name, seconds in watch.cpu_seconds.items():
        processes.add_row(name, f"{seconds:.2f}", f"{watch.peaks_mb[name]:.0f}")
    processes.add_row("all", f"{sum(watch.cpu_seconds.values()):.2f}", f"{watch.peak_mb:.0f}")
    console.print(steps, processes)


def main() -> None:
    """Parse, measure, print."""
    usual = Film()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--size", default=usual.size, help="of the films")
    parser.add_argument("--duration", type=float, default=usual.seconds, help="of the films, seconds")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    console = Console()
    console.print(f"machine: {machine()}", soft_wrap=True)
    film = Film(size=arguments.size, seconds=arguments.duration)
    job = f"{film.size}, {film.seconds:g} s, {film.camera}, and once more cinematic; prompt {PROMPT!r}"
    console.print(f"job: {job}; stage cache empty", soft_wrap=True)
    measured = asyncio.run(measure(arguments.photos or photos(), film, console))
    figures = {name: round(value, 3) for name, value in measured.items()}
    for name, value in figures.items():
        console.print(f"{name:<24}{value:.2f}")
    if arguments.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
