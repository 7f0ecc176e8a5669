"""Five scripted services in one process, to be killed at will: ``python -m bench.gateway.services PREFIX LOG PORT...``.

They speak the real protos and read and write real blobs; only the work is missing. Each call takes a while that the
environment variable ``SCRIPTED_SECONDS`` gives (a mean; 0 means none at all), and is noted in LOG when it begins:
one line ``seconds-since-epoch method digest job``, whose digest is the gateway's own for the same stage.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from gateway.results import stage_digest
from lensora.runtime.process import die_with_parent
from lensora.type.v1 import blob_pb2
from tests.contract.scripted import Call, Method, Service, Services

SECONDS = float(os.environ.get("SCRIPTED_SECONDS", "0"))
STEPS = 4
"""Progress messages before a result."""


def note(log: int, service: Service, call: Call) -> None:
    """Write down that a call began; whole lines, whoever else writes."""
    bare = type(call.request)()
    bare.CopyFrom(call.request)
    for field in bare.DESCRIPTOR.fields:
        if field.message_type is blob_pb2.BlobTarget.DESCRIPTOR:
            bare.ClearField(field.name)
    name = bare.DESCRIPTOR.name.removesuffix("Request")
    digest = stage_digest(service.name, service.engine().fingerprint, bare, "")
    os.write(log, f"{time.time():.6f} {name} {digest} {call.request_id}\n".encode())


def slow(method: Method, log: int) -> Any:
    """A script for the method: noted, then slow, then the plain result."""

    async def play(call: Call) -> AsyncIterator[Any]:
        note(log, method.service, call)
        seconds = random.expovariate(1 / SECONDS) if SECONDS else 0.0
        for step in range(STEPS if SECONDS else 0):
            await asyncio.sleep(seconds / STEPS)
            yield method.progress((step + 1) / STEPS)
        yield method.result(call.request)

    return play


async def serve(prefix: str, log_path: Path, ports: list[int]) -> None:
    """Serve until killed."""
    services = Services(prefix)
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for service, port in zip(services, ports, strict=True):
        service.address = f"127.0.0.1:{port}"
        for method in service.methods.values():
            method.script = slow(method, log)
        await service.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), [int(port) for port in sys.argv[3:]]))
