"""The five scripted services as a process, wired to telemetry as the real ones are: ``python services.py HOME``."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import structlog

from lensora.core.errors import FailedPrecondition
from lensora.runtime.server import run_process
from tests.contract.harness import running_services


async def _serve() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running_services(Path(sys.argv[1])) as services:
        if "refuse" in sys.argv:
            services["Reconstruct"].error = FailedPrecondition(
                "no solid of these words: a secret garden", reason="NO_SHAPE"
            )
        structlog.get_logger().info("ready", **services.targets)
        await stop.wait()


if __name__ == "__main__":
    sys.exit(run_process(_serve, "services", level="info", log_format="json", with_parent=True))
