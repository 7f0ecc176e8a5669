"""``lensora make``: one photo through a gateway, followed on the terminal, to four files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli import supervisor
from gateway import options
from gateway.options import PromptBackground, UrlBackground, validated
from lensora.client import AsyncJob, AsyncStudio, CameraPreset, MeshReport, Output, Picture, Result, SessionInfo
from lensora.client.values import ArtifactKind, OrderOptions
from lensora.core.errors import InvalidArgument, LensoraError, Unavailable
from lensora.runtime.channels import open_channel, wait_serving

Value = TypeVar("Value")

FILES: dict[ArtifactKind, str] = {
    "video": "film.mp4",
    "glb": "mesh.glb",
    "still": "still.png",
    "cutout": "cutout.png",
    "alpha_video": "film.webm",
}
"""What an artifact is called on disk."""

_SERVER_SECONDS = 5.0
"""How long a gateway that is said to be running may take to answer."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asked for."""

    photo: bytes
    options: OrderOptions
    out: Path
    server: str | None
    key: str = ""
    """API key; empty for a gateway that asks for none."""


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it."""

    job: Result
    session: SessionInfo
    label: str
    """Of the object."""
    files: dict[str, Path]
    seconds: dict[str, float]
    """By step, and ``init`` and ``total``."""

    @property
    def mesh(self) -> MeshReport:
        """What was measured on the mesh; every job that succeeded has one."""
        return cast("MeshReport", self.job.mesh)


def _background(words: str, picture: Path | None) -> str | Picture:
    if picture is not None:
        if words != "transparent":
            raise InvalidArgument.of("background-picture", "either this or --background, not both")
        return Picture(picture.read_bytes())
    if words == "transparent":
        return words
    if re.match("https?://", words, re.IGNORECASE):
        return validated(UrlBackground, url=words).url
    return validated(PromptBackground, prompt=words).prompt


def order(
    photo: bytes,
    background: str,
    camera: str,
    object_index: int | None,
    size: str,
    duration: float,
    seed: int,
    out: Path,
    server: str | None,
    background_picture: Path | None = None,
    key: str = "",
) -> Order:
    """Arguments as a person typed them, as an order.

    Raises:
        InvalidArgument: one of them cannot be read or breaks a rule of the contract, or there are two backgrounds.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    if match is None:
        raise InvalidArgument.of("size", f"WIDTHxHEIGHT expected, such as 1280x720, not {size!r}")
    if camera not in get_args(CameraPreset):
        raise InvalidArgument.of("camera", f"turntable, dolly or cinematic, not {camera!r}")
    width, height = int(match[1]), int(match[2])
    validated(options.Output, width=width, height=height, duration_s=duration)  # before anything is started
    wanted: OrderOptions = {
        "background": _background(background, background_picture),
        "camera": cast("CameraPreset", camera),
        "object_index": object_index or 0,
        "seed": seed,
        "output": Output(width, height, duration),
    }
    return Order(photo, wanted, out, server, key)


async def make(order: Order, console: Console) -> Made:
    """Run the order, on the server it names or on six processes of its own that end with it.

    Raises:
        LensoraError: what went wrong; a failed job names its step.
    """
    start = time.monotonic()
    return await on_gateway(order.server, lambda address: _follow(order, address, console, start))


async def on_gateway(
    server: str | None,
    work: Callable[[str], Coroutine[Any, Any, Value]],
    services: tuple[str, ...] = supervisor.SERVICES,
) -> Value:
    """Run ``work`` with the address of a gateway: the one at ``server``, or one of our own that ends with it.

    Args:
        server: ``host:port``, or None to start one.
        work: cancelled when its gateway breaks down.
        services: what a gateway of our own needs behind it.

    Raises:
        Unavailable: nobody answers at ``server``, or a process of our own cannot be kept up.
    """
    async with _gateway(server, services) as (address, broken):
        running = asyncio.ensure_future(work(address))
        try:
            await supervisor.first_of(running, broken)
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait([running])
            raise
        return running.result()


@contextlib.asynccontextmanager
async def _gateway(server: str | None, services: tuple[str, ...]) -> AsyncIterator[tuple[str, asyncio.Future[None]]]:
    if server is not None:
        try:
            async with open_channel(server) as channel:
                await wait_serving(channel, _SERVER_SECONDS)
        except Unavailable as error:
            raise Unavailable(f"no gateway answers at {server}", reason="GATEWAY_UNREACHABLE") from error
        yield server, asyncio.get_running_loop().create_future()
        return
    with tempfile.TemporaryDirectory(prefix="lensora-") as home:
        async with supervisor.running(Path(home), services=services) as system:
            yield system.address, system.broken


def studio_at(address: str, key: str) -> AsyncStudio:
    """The client of the gateway at ``host:port``."""
    return AsyncStudio(key, f"grpc://{address}")


async def _follow(order: Order, address: str, console: Console, start: float) -> Made:
    async with studio_at(address, order.key) as studio:
        with console.status("starting the services and looking at the photo"):
            session = await studio.init(order.photo)
        init = time.monotonic()
        ordering = asyncio.ensure_future(session.transform(**order.options))
        try:
            job = await asyncio.shield(ordering)
            await _watch(job, console)
        except asyncio.CancelledError:  # the order may have been accepted all the same
            with contextlib.suppress(LensoraError, TimeoutError):  # a gateway that is gone has nothing to cancel
                async with asyncio.timeout(_SERVER_SECONDS):
                    await (await ordering).cancel()
            raise
        made = await job.result()
        files = {FILES[kind]: order.out / FILES[kind] for kind in made.outputs}
        for kind in made.outputs:
            await job.download(kind, order.out / FILES[kind])
        seconds = {"init": init - start, **_step_seconds(made), "total": time.monotonic() - start}
        label = session.info.objects[order.options.get("object_index", 0)].label
        return Made(made, session.info, label, files, seconds)


async def _watch(job: AsyncJob, console: Console) -> None:
    """Draw a bar a step until the job has ended."""
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        steps = (await job.status()).steps
        bars: dict[str, TaskID] = {step.name: progress.add_task(step.name, total=1.0, start=False) for step in steps}
        async for event in job.watch():
            if event.step in bars:
                if event.state != "pending":
                    progress.start_task(bars[event.step])
                progress.update(bars[event.step], completed=event.fraction)
                if event.state == "done":
                    progress.stop_task(bars[event.step])


def _step_seconds(job: Result) -> dict[str, float]:
    return {
        step.name: (step.ended_at - step.started_at).total_seconds()
        for step in job.steps
        if step.started_at and step.ended_at
    }


def as_json(made: Made) -> str:
    """One JSON object with what ``print_table`` shows."""
    job = made.job
    return json.dumps(
        {
            "job_id": job.job_id,
            "object": made.label,
            "scene": job.scene_note,
            "mesh": {
                "thin_axis_ratio": round(made.mesh.thin_axis_ratio, 4),
                "verdict": made.mesh.verdict,
                "watertight": made.mesh.watertight,
                "triangles": made.mesh.triangles,
                "method": made.mesh.method,
                "engine": made.mesh.engine,
            },
            "camera": asdict(job.camera) if job.camera else None,
            "notices": {step.name: step.notice for step in job.steps if step.notice},
            "reused": [step.name for step in job.steps if step.reused],
            "seconds": {name: round(seconds, 3) for name, seconds in made.seconds.items()},
            "files": {name: str(path.resolve()) for name, path in made.files.items()},
        }
    )


def print_table(made: Made, console: Console) -> None:
    """Seconds a step, the mesh's measures, and where the files are."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, seconds in made.seconds.items():
        table.add_row(name, f"{seconds:.1f} s", style="bold" if name == "total" else None)
    mesh = made.mesh
    table.add_row(
        "mesh", f"{mesh.method}, {mesh.triangles:,} triangles, watertight: {'yes' if mesh.watertight else 'no'}"
    )
    table.add_row("thin_axis_ratio", f"{mesh.thin_axis_ratio:.2f}")
    table.add_row("verdict", mesh.verdict)
    table.add_row("scene", made.job.scene_note)
    for step in made.job.steps:
        if step.notice:
            table.add_row(step.name, step.notice, style="yellow")
    console.print(table)
    folder = next(iter(made.files.values())).parent.resolve()
    console.print(f"The four files are in {folder}: {', '.join(made.files)}", soft_wrap=True, highlight=False)
