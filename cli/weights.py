"""The heavy models' part of ``lensora models``: terms, and bars for gigabytes."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from lensora.core import weights
from lensora.core.weights import WEIGHTS

__all__ = ["WEIGHTS", "fetch", "print_table"]


def print_table(console: Console) -> None:
    """The weights for Triton: what they are for, where from, their licence, and whether they are here."""
    table = Table("for Triton", "model", "stage", Column("from", overflow="fold"), "licence", "status", box=None)
    for each in WEIGHTS.values():
        origin = ", ".join(source.repository for source in each.sources)
        table.add_row(each.name, each.model, each.stage, origin, each.licence, weights.status(each.name))
    console.print()
    console.print(table)
    console.print(f"folder: {weights.home()}", soft_wrap=True, highlight=False)


def fetch(name: str, console: Console, *, accept_terms: bool) -> None:
    """Show the terms, ask, and fetch.

    Raises:
        LensoraError: as ``lensora.core.weights.fetch``.
    """
    chosen = WEIGHTS[name]
    accepted = []
    if weights.status(name) != "present":
        origin = ", ".join(source.repository for source in chosen.sources)
        console.print(f"{name} ({chosen.licence}), from {origin}\n{chosen.terms}", highlight=False)
        if accept_terms or typer.confirm("Fetch it on these terms?"):
            accepted.append(name)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {}

        def show(_name: str, path: str, done: int, size: int) -> None:
            if path not in tasks:
                tasks[path] = bars.add_task(path, total=size)
            bars.update(tasks[path], completed=done)

        weights.fetch(name, show, accepted=accepted)
    console.print(f"{name}: whole, in {weights.folder(name)}", soft_wrap=True, highlight=False)
