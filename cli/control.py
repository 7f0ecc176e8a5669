"""The calls that the command line makes to a control plane."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc

from controlplane.wire import admin_pb2, admin_pb2_grpc
from lensora.core.errors import NotFound
from lensora.runtime import tls
from lensora.runtime.channels import open_channel
from lensora.runtime.errors import from_rpc

_SECONDS = 10.0


class Control:
    """One replica. Every method raises the ``LensoraError`` that it raised."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    async def status(self) -> admin_pb2.GetStatusResponse:
        """What it serves, and to whom."""
        with _typed():
            answer: admin_pb2.GetStatusResponse = await self._stub.GetStatus(
                admin_pb2.GetStatusRequest(), timeout=_SECONDS
            )
        return answer

    async def tracks(self, service: str) -> dict[str, admin_pb2.Track]:
        """The tracks of one service by name.

        Raises:
            NotFound: there is no such service.
        """
        services = {one.name: one for one in (await self.status()).services}
        if service not in services:
            raise NotFound(f"the mesh has no service {service!r}; it has {', '.join(services) or 'none'}")
        return {track.name: track for track in services[service].tracks}

    async def set_canary(self, service: str, percent: int) -> None:
        """Give the canary this share, and the stable track the rest."""
        weights = {"stable": 100 - percent, "canary": percent}
        with _typed():
            await self._stub.SetWeights(admin_pb2.SetWeightsRequest(service=service, weights=weights), timeout=_SECONDS)


@contextlib.asynccontextmanager
async def connected(server: str, certificates: Path | None) -> AsyncIterator[Control]:
    """A connection to the control plane at ``host:port``, over TLS where there are certificates."""
    async with open_channel(server, tls.channel_credentials(certificates) if certificates else None) as channel:
        yield Control(admin_pb2_grpc.MeshServiceStub(channel))


@contextlib.contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
