"""``lensora up``: the six processes, supervised, until stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cli import supervisor

_SETTING = "GATEWAY_HTTP_LISTEN"
_HTTP = "127.0.0.1:8080"
"""Where HTTP is served unless told otherwise, and if nobody else is there."""


async def up(home: Path, listen: str, http: str, console: Console, triton_models: Sequence[str] | None = None) -> None:
    """Run until cancelled.

    Args:
        home: absolute folder of the database, the blobs and the logs.
        listen: ``host:port`` of the gateway; port 0 takes a free one.
        http: where it serves HTTP as well; empty: as the environment says, else ``_HTTP`` if that is free.
        console: where to tell.
        triton_models: run Triton as well, with these beside the light ones; None: without Triton.

    Raises:
        Unavailable: a process could not be kept up.
    """
    http = http or os.environ.get(_SETTING, "") or (_HTTP if _is_free(_HTTP) else "")
    os.environ[_SETTING] = http  # which the gateway inherits
    async with contextlib.AsyncExitStack() as stack:
        broken = []
        if triton_models is not None:
            from cli.triton import hosting  # Triton's client: only who wants it pays for loading it

            server = await stack.enter_async_context(hosting(home, triton_models, console))
            console.print(
                f"{'triton':<12}{server.address:<20} {', '.join(server.models)}", soft_wrap=True, highlight=False
            )
            broken.append(server.broken)
        system = await stack.enter_async_context(supervisor.running(home, listen))
        broken.append(system.broken)
        with console.status("starting"):
            seconds = await system.ready()
        for name, pid in system.pids().items():
            console.print(f"{name:<12}{system.members[name].address:<20} pid {pid}", highlight=False)
        console.print(
            f"Ready in {seconds:.1f} s. The gateway speaks gRPC on {system.address}; Ctrl-C stops all six.",
            soft_wrap=True,
        )
        where = f"HTTP on http://{http} (see /docs)" if http else f"no HTTP: {_HTTP} is taken, choose another by --http"
        console.print(where, soft_wrap=True, highlight=False)
        console.print(f"Logs and data: {system.home}", soft_wrap=True, highlight=False)
        done, _ = await asyncio.wait(broken, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()


def _is_free(listen: str) -> bool:
    host, _, port = listen.rpartition(":")
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the gateway does
        try:
            one.bind((host, int(port)))
        except OSError:
            return False
    return True
