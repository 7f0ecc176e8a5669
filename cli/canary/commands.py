"""The commands, and nothing but their arguments."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.mesh import SERVER, Certificates, Server
from cli.running import run as running
from cli.running import typed_errors
from lensora.core.errors import InvalidArgument
from lensora.runtime.mesh import SERVICES

if TYPE_CHECKING:
    from cli.canary.cases import Case
    from cli.canary.judge import Verdict
    from cli.canary.tracks import Tracks
    from gateway.settings import Settings

canary_app = typer.Typer(no_args_is_help=True, help="Judge a new version before it takes the calls: see docs/mesh.md.")

_DEFAULT_CASES = 8

Service = Annotated[str, typer.Argument(help="detect, segment, background, mesh3d or render.")]
Jobs = Annotated[int, typer.Option(min=0, max=1000, help="So many of the newest jobs' inputs; 8 without --photos.")]
Photos = Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Inputs made from these photos.")]
Account = Annotated[str, typer.Option(help="Whose jobs.")]
Out = Annotated[Path | None, typer.Option(help="The report; out/canary/SERVICE.html by default.")]


@canary_app.command()
def judge(service: Service, jobs: Jobs = 0, photos: Photos = None, account: Account = "local", out: Out = None) -> None:
    """Replay recorded inputs through stable and canary, and compare; runs where the gateway runs, with its settings.

    Exit status 0: no worse; 3: worse; 4: the results differ, look at the report.
    """
    from cli.canary import report
    from cli.canary.judge import Evidence, replay, verdict
    from cli.canary.tracks import Tracks

    evidence = Evidence(service)
    file = out or Path("out/canary") / f"{service}.html"
    console = Console()

    async def work() -> Verdict:
        settings = _checked(service)
        tracks = Tracks(settings)
        try:
            await replay(tracks, evidence, _cases(tracks, settings, service, jobs, photos, account))
        finally:
            await tracks.close()
        found = verdict(evidence)
        report.write(file, evidence, found)
        return found

    with typed_errors(console):
        _end(running(work()), file, console)


@canary_app.command()
def run(
    service: Service,
    steps: Annotated[str, typer.Option(help="Percent, rising, with commas.")] = "5,25,50,100",
    hold: Annotated[float, typer.Option(min=1, help="Seconds that a step is watched, at least.")] = 60.0,
    jobs: Jobs = 0,
    photos: Photos = None,
    account: Account = "local",
    out: Out = None,
    server: Server = SERVER,
    certificates: Certificates = None,
) -> None:
    """Walk the weights up, watching errors, times and results; goes back to nothing when one is worse.

    Exit status 0: it has the last step's share; 4: the same, but the results differ; 3: it was worse, and has nothing.
    """
    from cli.canary import report
    from cli.canary.cases import first, newest
    from cli.canary.rollout import Plan, Rollout
    from cli.canary.tracks import Tracks
    from cli.control import connected

    file = out or Path("out/canary") / f"{service}.html"
    console = Console()

    async def work() -> Verdict:
        settings = _checked(service)
        plan = Plan(service, _steps(steps), hold)
        tracks = Tracks(settings)
        try:
            cases = await first(_cases(tracks, settings, service, jobs, photos, account), 1000)
            async with connected(server, certificates) as control:
                tell = partial(console.print, highlight=False)
                live = partial(newest, settings, account) if photos is None else None
                rollout = Rollout(plan, control, tracks, cases, tell, live)
                found = await rollout.run()
        finally:
            await tracks.close()
        report.write(file, rollout.evidence, found, rollout.steps)
        return found

    with typed_errors(console):
        _end(running(work()), file, console)


def _checked(service: str) -> Settings:
    from gateway.settings import Settings

    if service not in SERVICES:
        raise InvalidArgument.of("service", f"one of {', '.join(SERVICES)}")
    return Settings()


def _steps(text: str) -> tuple[int, ...]:
    steps = tuple(map(int, text.split(","))) if re.fullmatch(r"\d{1,3}(,\d{1,3})*", text) else ()
    if not steps or list(steps) != sorted(set(steps)) or not 0 < steps[0] <= steps[-1] <= 100:
        raise InvalidArgument.of("steps", "rising percents, such as 5,25,50,100")
    return steps


def _cases(
    tracks: Tracks, settings: Settings, service: str, jobs: int, photos: Path | None, account: str
) -> AsyncIterator[Case]:
    from cli.canary.cases import of_jobs, of_photos

    if photos is not None:
        return of_photos(tracks, service, photos)
    return of_jobs(tracks, service, settings, jobs or _DEFAULT_CASES, account)


def _end(found: Verdict, file: Path, console: Console) -> None:
    from cli.canary.judge import DIFFERS, WORSE
    from cli.canary.report import line

    console.print(line(found), highlight=False, soft_wrap=True)
    console.print(f"report: {file}", highlight=False, soft_wrap=True)
    status = {WORSE: 3, DIFFERS: 4}.get(found.name, 0)
    if status:
        raise typer.Exit(status)
