"""Runs in a container of the gateway's image: calls services through the mesh, and prints what came of it as JSON.

``caller.py SERVICES CALLS SECONDS [x-canary]``: so many calls to each of the services, in turns, four at a time, spread
over so many seconds. ``GetEngine`` is as cheap a call as there is, and goes the way of all others.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import sys
from pathlib import Path
from typing import Any

import grpc

from lensora.runtime.callees import open_service
from lensora.type.v1 import engine_pb2, engine_pb2_grpc

AT_A_TIME = 4


async def main(services: list[str], calls: int, seconds: float, canary: str) -> None:
    """Call, count, print."""
    certificates = Path(os.environ["GATEWAY_CERTIFICATES"])
    channels = {
        name: open_service(name, os.environ[f"GATEWAY_{name.upper()}_TARGET"], certificates) for name in services
    }
    engines: collections.Counter[str] = collections.Counter()
    errors: collections.Counter[str] = collections.Counter()
    metadata = (("x-canary", canary),) if canary else ()
    await asyncio.gather(*(channel.channel_ready() for channel in channels.values()))
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    begun = asyncio.get_running_loop().time()

    async def one(number: int) -> None:
        name = services[number % len(services)]
        stub: Any = engine_pb2_grpc.EngineServiceStub(channels[name])
        try:
            answer = await stub.GetEngine(engine_pb2.GetEngineRequest(), timeout=20, metadata=metadata)
            engines[answer.engine.name] += 1
        except grpc.aio.AioRpcError as error:
            errors[f"{name}: {error.code().name}: {error.details()}"] += 1

    async def worker(first: int) -> None:
        for number in range(first, calls * len(services), AT_A_TIME):
            due = begun + seconds * number / (calls * len(services))
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            await one(number)

    await asyncio.gather(*(worker(first) for first in range(AT_A_TIME)))
    fell_back = [name for name, channel in channels.items() if getattr(channel, "falls_back", False)]
    sys.stdout.write(json.dumps({"engines": engines, "errors": errors, "fell_back": fell_back}) + "\n")


if __name__ == "__main__":
    asyncio.run(
        main(sys.argv[1].split(","), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "")
    )
