"""``lensora up``: the six processes, supervised, until stopped."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from cli import supervisor


async def up(home: Path, listen: str, console: Console) -> None:
    """Run until cancelled.

    Raises:
        Unavailable: a process could not be kept up.
    """
    async with supervisor.running(home, listen) as system:
        with console.status("starting"):
            seconds = await system.ready()
        for name, pid in system.pids().items():
            console.print(f"{name:<12}{system.members[name].address:<20} pid {pid}", highlight=False)
        console.print(
            f"Ready in {seconds:.1f} s. The gateway speaks gRPC on {system.address}; Ctrl-C stops all six.",
            soft_wrap=True,
        )
        console.print(f"Logs and data: {system.home}", soft_wrap=True, highlight=False)
        await system.broken
