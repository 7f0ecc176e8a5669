"""A supervised Triton in a process of its own: ``python supervised.py LOG REPOSITORY MODEL…``.

Says one JSON object when it is ready, and stops when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from lensora.runtime import tritonserver
from lensora.runtime.telemetry import configure_logs


async def main(log: Path, repository: Path, *models: str) -> None:
    """Run until standard input ends."""
    configure_logs("supervisor", level="info", log_format="json")
    async with tritonserver.running(log, models, repository, watch_seconds=0.3) as server:
        assert server.process is not None
        print(json.dumps({"address": server.address, "pid": server.process.pid}), flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
