"""``lensora make``: one photo through a gateway, followed on the terminal, to four files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli import supervisor
from cli.studio import FILES, Studio
from gateway.options import Output, PromptBackground, UrlBackground, validated
from lensora.core.errors import FailedPrecondition, InvalidArgument, Unavailable
from lensora.runtime.channels import open_channel, wait_serving
from lensora.studio.v1 import studio_pb2
from lensora.type.v1 import geometry_pb2, mesh_pb2, scene_pb2

Result = TypeVar("Result")

_SERVER_SECONDS = 5.0
"""How long a gateway that is said to be running may take to answer."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asked for."""

    photo: bytes
    spec: studio_pb2.JobSpec
    """All but the session and the object."""
    object_index: int | None
    """None for the first."""
    out: Path
    server: str | None
    key: str = ""
    """API key; empty for a gateway that asks for none."""


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it."""

    job: studio_pb2.Job
    session: studio_pb2.Session
    files: dict[str, Path]
    seconds: dict[str, float]
    """By step, and ``start``, ``init`` and ``total``."""


def _background(words: str, picture: Path | None) -> studio_pb2.Background:
    if picture is not None:
        if words != "transparent":
            raise InvalidArgument.of("background-picture", "either this or --background, not both")
        return studio_pb2.Background(picture=picture.read_bytes())
    if words == "transparent":
        return studio_pb2.Background(transparent=studio_pb2.TransparentBackground())
    if re.match("https?://", words, re.IGNORECASE):
        return studio_pb2.Background(url=validated(UrlBackground, url=words).url)
    return studio_pb2.Background(prompt=validated(PromptBackground, prompt=words).prompt)


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
    presets = {name.removeprefix("CAMERA_PRESET_").lower(): number for name, number in scene_pb2.CameraPreset.items()}
    if camera not in presets or not presets[camera]:
        raise InvalidArgument.of("camera", f"turntable, dolly or cinematic, not {camera!r}")
    validated(Output, width=int(match[1]), height=int(match[2]), duration_s=duration)  # before anything is started
    spec = studio_pb2.JobSpec(
        background=_background(background, background_picture),
        camera_preset=presets[camera],
        seed=seed,
        output=studio_pb2.OutputSpec(
            size=geometry_pb2.Size(width=int(match[1]), height=int(match[2])), duration_s=duration
        ),
    )
    return Order(photo, spec, object_index, out, server, key)


async def make(order: Order, console: Console) -> Made:
    """Run the order, on the server it names or on six processes of its own that end with it.

    Raises:
        LensoraError: what went wrong; a failed job names its step.
    """
    start = time.monotonic()
    return await on_gateway(order.server, lambda address: _follow(order, address, console, start))


async def on_gateway(
    server: str | None,
    work: Callable[[str], Coroutine[Any, Any, Result]],
    services: tuple[str, ...] = supervisor.SERVICES,
) -> Result:
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


async def _follow(order: Order, address: str, console: Console, start: float) -> Made:
    studio = Studio(address, order.key)
    try:
        with console.status("starting the services and looking at the photo"):
            session = await studio.create_session(order.photo)
        init = time.monotonic()
        spec = studio_pb2.JobSpec()
        spec.CopyFrom(order.spec)
        spec.session_id = session.session_id
        spec.object_index = 0 if order.object_index is None else order.object_index
        job = await studio.create_job(spec)
        try:
            job = await _watch(studio, job, console)
        except asyncio.CancelledError:
            await studio.cancel_job(job.job_id)
            raise
        if job.status != studio_pb2.JOB_STATUS_SUCCEEDED:
            raise _failure(job)
        order.out.mkdir(parents=True, exist_ok=True)
        files = {FILES[artifact.kind]: order.out / FILES[artifact.kind] for artifact in job.artifacts}
        for artifact in job.artifacts:
            await studio.download(job.job_id, artifact.kind, files[FILES[artifact.kind]])
        seconds = {"init": init - start, **_step_seconds(job), "total": time.monotonic() - start}
        return Made(job, session, files, seconds)
    finally:
        await studio.close()


async def _watch(studio: Studio, job: studio_pb2.Job, console: Console) -> studio_pb2.Job:
    """Draw a bar a step until the job has ended."""
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bars: dict[int, TaskID] = {
            record.step: progress.add_task(step_name(record.step), total=1.0, start=False) for record in job.steps
        }
        async for response in studio.watch_job(job.job_id):
            event = response.event
            if event.step in bars:
                if event.state != studio_pb2.STEP_STATE_PENDING:
                    progress.start_task(bars[event.step])
                progress.update(bars[event.step], completed=event.fraction)
                if event.state == studio_pb2.STEP_STATE_DONE:
                    progress.stop_task(bars[event.step])
            if response.HasField("job"):
                job = response.job
    return job


def _failure(job: studio_pb2.Job) -> FailedPrecondition:
    if job.status == studio_pb2.JOB_STATUS_CANCELLED:
        return FailedPrecondition("the job was cancelled", reason="JOB_CANCELLED")
    error = job.error
    return FailedPrecondition(f"{step_name(error.step)} failed: {error.message}", reason=error.reason)


def step_name(step: int) -> str:
    """``STEP_REMOVING_BG`` as callers know it: ``removing-bg``."""
    return studio_pb2.Step.Name(step).removeprefix("STEP_").lower().replace("_", "-")  # type: ignore[arg-type]


def _step_seconds(job: studio_pb2.Job) -> dict[str, float]:
    return {
        step_name(record.step): (record.ended_at.ToNanoseconds() - record.started_at.ToNanoseconds()) / 1e9
        for record in job.steps
    }


def verdict_name(job: studio_pb2.Job) -> str:
    """``volume``, ``thin`` or ``slab``."""
    return mesh_pb2.Verdict.Name(job.mesh.verdict).removeprefix("VERDICT_").lower()


def as_json(made: Made) -> str:
    """One JSON object with what ``print_table`` shows."""
    return json.dumps(
        {
            "job_id": made.job.job_id,
            "object": made.session.objects[made.job.spec.object_index].label,
            "scene": made.job.scene_note,
            "mesh": {
                "thin_axis_ratio": round(made.job.mesh.thin_axis_ratio, 4),
                "verdict": verdict_name(made.job),
                "watertight": made.job.mesh.watertight,
                "triangles": made.job.mesh.triangles,
                "method": made.job.mesh.method,
                "engine": made.job.mesh_engine,
            },
            "camera": {
                "preset": scene_pb2.CameraPreset.Name(made.job.camera.preset).removeprefix("CAMERA_PRESET_").lower(),
                "arc_degrees": made.job.camera.arc_degrees,
                "clamped": made.job.camera.clamped,
            },
            "notices": {step_name(record.step): record.notice for record in made.job.steps if record.notice},
            "reused": [step_name(record.step) for record in made.job.steps if record.reused],
            "seconds": {name: round(seconds, 3) for name, seconds in made.seconds.items()},
            "files": {name: str(path.resolve()) for name, path in made.files.items()},
        }
    )


def print_table(made: Made, console: Console) -> None:
    """Seconds a step, the mesh's measures, and where the files are."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, seconds in made.seconds.items():
        table.add_row(name, f"{seconds:.1f} s", style="bold" if name == "total" else None)
    mesh = made.job.mesh
    table.add_row(
        "mesh", f"{mesh.method}, {mesh.triangles:,} triangles, watertight: {'yes' if mesh.watertight else 'no'}"
    )
    table.add_row("thin_axis_ratio", f"{mesh.thin_axis_ratio:.2f}")
    table.add_row("verdict", verdict_name(made.job))
    table.add_row("scene", made.job.scene_note)
    for record in made.job.steps:
        if record.notice:
            table.add_row(step_name(record.step), record.notice, style="yellow")
    console.print(table)
    folder = next(iter(made.files.values())).parent.resolve()
    console.print(f"The four files are in {folder}: {', '.join(made.files)}", soft_wrap=True, highlight=False)
