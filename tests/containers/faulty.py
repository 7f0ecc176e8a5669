"""Runs in a container of the gateway's image: a mesh3d, as far as the mesh can see, that fails every second call."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import grpc

from lensora.runtime import tls
from lensora.type.v1 import engine_pb2, engine_pb2_grpc


class _Engine(engine_pb2_grpc.EngineServiceServicer):
    def __init__(self) -> None:
        self._numbers = itertools.count()

    async def GetEngine(  # noqa: N802 - gRPC's name
        self, _: engine_pb2.GetEngineRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> engine_pb2.GetEngineResponse:
        """As the real one, or INTERNAL."""
        if next(self._numbers) % 2:
            await context.abort(grpc.StatusCode.INTERNAL, "as it should")
        return engine_pb2.GetEngineResponse(engine=engine_pb2.EngineInfo(name="faulty"))


async def main() -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    engine_pb2_grpc.add_EngineServiceServicer_to_server(_Engine(), server)
    server.add_secure_port("0.0.0.0:50054", tls.server_credentials(Path("/etc/lensora/tls/mesh3d")))
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
