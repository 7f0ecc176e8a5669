"""``lensora up --triton``: a Triton on this machine, and the services that use it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from rich.console import Console

from lensora.runtime import tritonserver
from lensora.runtime.tritonserver import LIGHT, Server

SERVICES = ("detect", "segment")
"""Those whose networks are among the light models."""

_LIGHT_SECONDS, _HEAVY_SECONDS = 120.0, 1200.0
"""How long Triton may take to load them; heavy ones read tens of gigabytes."""


@contextlib.asynccontextmanager
async def hosting(home: Path, models: Sequence[str], console: Console) -> AsyncIterator[Server]:
    """Run Triton; processes started meanwhile inherit where it is, and engines that the environment does not choose.

    Args:
        home: absolute folder; the log goes to ``logs/triton.log`` in it.
        models: to load beside the light ones.
        console: where to tell.

    Raises:
        TritonMissing: it could not be installed.
        Unavailable: it does not start.
        LensoraError: what a model says is missing.
    """
    with console.status("making Triton's environment (once, a minute or so)"):
        environment = await asyncio.to_thread(tritonserver.install)
    (home / "logs").mkdir(parents=True, exist_ok=True)
    running = tritonserver.running(
        home / "logs" / "triton.log",
        (*LIGHT, *models),
        environment=environment,
        ready_seconds=_HEAVY_SECONDS if models else _LIGHT_SECONDS,
    )
    async with contextlib.AsyncExitStack() as stack:
        with console.status("starting Triton"):
            server = await stack.enter_async_context(running)
        for name in SERVICES:
            os.environ.setdefault(f"{name.upper()}_ENGINE", "triton")
        for name in (*SERVICES, "background", "mesh3d"):
            os.environ[f"{name.upper()}_TRITON_ADDRESS"] = server.address
        yield server
