"""A client process: ``python -m tests.mesh.caller SERVICE TARGET [CERTIFICATES]``, as the gateway is one.

Takes one JSON object a line on standard input, ``{"name", "calls", "workers", "pause", "metadata", "timeout"}`` or
``{"stop": name}``, and prints for each name, when its calls are over, ``{"name", "calls": [[begun, ended, who, code],
...]}``; times are of the monotonic clock, which all processes of a machine share. Without ``calls`` it goes on until
it is stopped.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import structlog

from lensora.runtime.callees import open_service
from lensora.runtime.process import die_with_parent
from lensora.type.v1 import engine_pb2, engine_pb2_grpc

structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=sys.stderr))


class Caller:
    """Calls GetEngine, whose answer says which instance it was."""

    def __init__(self, service: str, target: str, certificates: Path | None) -> None:
        self.channel = open_service(service, target, certificates)
        self._stub: Any = engine_pb2_grpc.EngineServiceStub(self.channel)
        self._stopped: dict[str, asyncio.Event] = {}

    async def obey(self, order: dict[str, Any]) -> None:
        """One line of input."""
        if "stop" in order:
            self._stopped[order["stop"]].set()
            return
        stopped = self._stopped[order["name"]] = asyncio.Event()
        if order.get("ready"):
            await self.channel.channel_ready()
        numbers = iter(range(order["calls"])) if order.get("calls") else iter(int, 1)
        results: list[list[Any]] = []

        async def work() -> None:
            for _ in numbers:
                if stopped.is_set():
                    return
                results.append(await self._call(order))
                await asyncio.sleep(order.get("pause", 0))

        await asyncio.gather(*(work() for _ in range(order.get("workers", 1))))
        sys.stdout.write(json.dumps({"name": order["name"], "calls": results}) + "\n")
        sys.stdout.flush()

    async def _call(self, order: dict[str, Any]) -> list[Any]:
        begun, who, code = time.monotonic(), "", "OK"
        metadata = tuple(order.get("metadata", {}).items())
        try:
            call = self._stub.GetEngine(
                engine_pb2.GetEngineRequest(), timeout=order.get("timeout", 20), metadata=metadata
            )
            who = (await call).engine.version
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        return [begun, time.monotonic(), who, code]


async def main() -> None:
    """Obey until standard input ends."""
    service, target, *rest = sys.argv[1:]
    caller = Caller(service, target, Path(rest[0]) if rest else None)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running = set()
    while line := await reader.readline():
        running.add(asyncio.create_task(caller.obey(json.loads(line))))
    for task in running:
        task.cancel()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(main())
