"""The commands, and nothing but their arguments."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.table import Column, Table

from cli.admin import credits_app, db_app, keys_app
from cli.canary.commands import canary_app
from cli.mesh import mesh_app
from cli.running import run, typed_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
models_app = typer.Typer(no_args_is_help=True, help="Model files: what there is, and getting it.")
app.add_typer(models_app, name="models")
app.add_typer(keys_app, name="keys")
app.add_typer(credits_app, name="credits")
app.add_typer(db_app, name="db")
app.add_typer(mesh_app, name="mesh")
app.add_typer(canary_app, name="canary")

Listen = Annotated[str, typer.Option(help="HOST:PORT of the gateway.")]
Key = Annotated[
    str, typer.Option(envvar="LENSORA_KEY", help="API key, where the gateway asks for one.", show_envvar=True)
]
Home = Annotated[Path, typer.Option(help="Folder of the database, the blobs and the logs.")]


@app.callback()
def _root() -> None:
    """One photo in; a film of its subject as a 3D object on a new background out."""


@app.command()
def make(
    photo: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="JPEG, PNG or WebP.")],
    background: Annotated[
        str, typer.Option(help="What to put behind it: words, the https:// link of a picture, or `transparent`.")
    ] = "transparent",
    background_picture: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, readable=True, help="A picture of your own behind it.")
    ] = None,
    camera: Annotated[str, typer.Option(help="turntable, dolly or cinematic.")] = "turntable",
    object_index: Annotated[
        int | None, typer.Option("--object", min=0, help="Which of the objects found; the first by default.")
    ] = None,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the film, both even, 256 to 1920.")] = "1280x720",
    duration: Annotated[float, typer.Option(help="Seconds of film, 1 to 12.")] = 5.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the four files; out/PHOTO by default.")] = None,
    server: Annotated[str | None, typer.Option(help="HOST:PORT of a running gateway; else one is started.")] = None,
    key: Key = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Make the four files from one photo."""
    from cli import make as making  # gRPC and its protos: only who makes pays for loading them

    console = Console(stderr=as_json)
    with typed_errors(console):
        order = making.order(
            photo.read_bytes(),
            background,
            camera,
            object_index,
            size,
            duration,
            seed,
            out or Path("out") / photo.stem,
            server,
            background_picture,
            key,
        )
        made = run(making.make(order, console))
        if as_json:
            typer.echo(making.as_json(made))
        else:
            making.print_table(made, console)


@app.command()
def detect(
    photo: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="JPEG, PNG or WebP.")],
    max_objects: Annotated[int, typer.Option(help="The most objects wanted, 2 to 8.")] = 6,
    server: Annotated[str | None, typer.Option(help="HOST:PORT of a running gateway; else one is started.")] = None,
    key: Key = "",
    out: Annotated[
        Path | None, typer.Option(help="PNG of the photo with the boxes drawn; out/PHOTO/objects.png by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Say what is in a photo, and draw it: the numbers are what `make --object` takes."""
    from cli import detect as detecting

    console = Console(stderr=as_json)
    with typed_errors(console):
        file = out or Path("out") / photo.stem / "objects.png"
        found = run(detecting.detect(photo.read_bytes(), max_objects, file, server, key, console))
        if as_json:
            typer.echo(detecting.as_json(found))
        else:
            detecting.print_table(found, console)


@app.command()
def up(
    listen: Listen = "127.0.0.1:50050",
    http: Annotated[str, typer.Option(help="HOST:PORT of its HTTP edge; 127.0.0.1:8080 if that is free.")] = "",
    home: Home = Path("~/.local/share/lensora"),
    triton: Annotated[bool, typer.Option("--triton", help="Run Triton too, and let the services use it.")] = False,
    triton_model: Annotated[
        list[str] | None, typer.Option(help="A heavy model for Triton to load at the start; implies --triton.")
    ] = None,
) -> None:
    """Run the five services and the gateway until stopped."""
    from cli import up as running

    console = Console()
    with typed_errors(console):
        models = (triton_model or []) if triton or triton_model else None
        run(running.up(home.expanduser().resolve(), listen, http, console, models))


@app.command()
def doctor(
    listen: Listen = "127.0.0.1:50050",
    home: Home = Path("~/.local/share/lensora"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Check that this machine has what is needed, and say what to do where it has not."""
    from cli import doctor as examining

    findings = examining.examine([listen], home.expanduser().resolve())
    if as_json:
        typer.echo(examining.as_json(findings))
    else:
        examining.print_table(findings, Console())
    if not examining.healthy(findings):
        raise typer.Exit(1)


@models_app.command("list")
def list_models() -> None:
    """Every model: stage, size, licence, SHA-256, and whether it is here."""
    from cli import weights
    from lensora.core import models

    table = Table("name", "stage", "MB", "licence", Column("sha256", overflow="fold"), "status", box=None)
    for model in models.MODELS.values():
        row = (model.name, ", ".join(model.stages), f"{model.size / 1e6:.1f}", model.licence, model.sha256)
        table.add_row(*row, models.status(model.name))
    console = Console()
    console.print(table)
    console.print(f"folder: {models.folder()}", soft_wrap=True, highlight=False)
    weights.print_table(console)


@models_app.command("fetch")
def fetch_models(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all but the optional ones by default.")] = None,
    accept_terms: Annotated[bool, typer.Option("--accept-terms", help="Accept an optional model's terms.")] = False,
) -> None:
    """Fetch the models that are missing or altered, each checked against its SHA-256; heavy ones by name only."""
    from cli import weights
    from lensora.core import models

    console = Console()
    with typed_errors(console):
        wanted = [name for name in names or models.needed() if name not in weights.WEIGHTS]
        accepted = []
        for model in map(models.get, wanted):
            if model.terms and models.status(model.name) != "present":
                console.print(f"{model.name} ({model.licence}): {model.source}\n{model.terms}", highlight=False)
                if accept_terms or typer.confirm("Fetch it on these terms?"):
                    accepted.append(model.name)
        report = lambda name, what: console.print(f"{name}: {what}", highlight=False)  # noqa: E731
        models.fetch(wanted, report, accepted=accepted)
        for name in names or ():
            if name in weights.WEIGHTS:
                weights.fetch(name, console, accept_terms=accept_terms)


def main() -> None:
    """Entry point of the ``lensora`` command."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR)
    )  # the terminal is for people
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # a server that says goodbye is no news
    app()
