"""Channels to the services: direct targets, or through the mesh where a bootstrap says where its control plane is.

gRPC keeps what the control plane told it for as long as the process lives, so a client that has been in the mesh does
not need the control plane any more. One that starts while there is none would fail every call: it calls the direct
target instead, says so, and changes over as soon as the mesh is there.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc import experimental
from opentelemetry import metrics

from lensora.runtime import tls
from lensora.runtime.channels import open_channel
from lensora.runtime.mesh import Policy, identity

_BOOTSTRAPS = ("GRPC_XDS_BOOTSTRAP", "GRPC_XDS_BOOTSTRAP_CONFIG")
"""gRPC's own variables: a file, or its content."""

_log = structlog.get_logger()
_direct = metrics.get_meter("lensora.mesh").create_up_down_counter(
    "lensora.mesh.direct",
    unit="{channel}",
    description="Channels that use their static target because the mesh was not there, by service.",
)


def open_service(
    name: str, target: str, certificates: Path | None = None, mesh_seconds: float = 2.0
) -> grpc.aio.Channel:
    """A channel to one of the services; connects on the first call.

    Args:
        name: of the service.
        target: where it is, without a mesh, or for as long as the mesh has not been there yet.
        certificates: folder, see ``lensora.runtime.tls``; then over TLS.
        mesh_seconds: how long to wait for the mesh before ``target`` is used.

    Raises:
        InvalidArgument: the certificates cannot be read.
    """
    if not any(map(os.environ.get, _BOOTSTRAPS)):
        return _open_direct(name, target, certificates)
    plaintext: Any = experimental.insecure_channel_credentials  # where the mesh says nothing of TLS
    through = open_channel(f"xds:///{name}", grpc.xds_channel_credentials(plaintext()))
    return FallbackChannel(name, through, _open_direct(name, target, certificates), mesh_seconds)


def _open_direct(name: str, target: str, certificates: Path | None) -> grpc.aio.Channel:
    """With the policy that the mesh has by default, and the same check of who answers."""
    options = [("grpc.service_config", Policy().service_config())]
    if certificates is None:
        return open_channel(target, None, options)
    options.append(("grpc.ssl_target_name_override", identity(name)))
    return open_channel(target, tls.channel_credentials(certificates), options)


class FallbackChannel(grpc.aio.Channel):
    """Calls go through the mesh, or, before it was ever there, to the direct target.

    Which one is decided at each call; calls made in the first ``seconds`` of a cold client go through the mesh and
    may fail, unless ``channel_ready`` is awaited before, which waits for either.
    """

    def __init__(self, name: str, mesh: grpc.aio.Channel, direct: grpc.aio.Channel, seconds: float) -> None:
        self._name, self._mesh, self._static, self._seconds = name, mesh, direct, seconds
        self._current = mesh
        self._decided = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    @property
    def falls_back(self) -> bool:
        """Whether calls go to the direct target."""
        return self._current is self._static

    def _channel(self) -> grpc.aio.Channel:
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._follow())
        return self._current

    async def _follow(self) -> None:
        """Wait for the mesh, in the end for ever; the first time that it is ready settles it."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._mesh.channel_ready()
        except TimeoutError:
            self._current = self._static
            _log.warning("mesh not there, using the static target", callee=self._name, waited_seconds=self._seconds)
            _direct.add(1, {"service": self._name})
            self._decided.set()
            await self._mesh.channel_ready()
            self._current = self._mesh
            _direct.add(-1, {"service": self._name})
            _log.warning("mesh is there, leaving the static target", callee=self._name)
        self._decided.set()

    async def channel_ready(self) -> None:
        """Wait until one of the two can be called."""
        self._channel()
        await self._decided.wait()
        await self._channel().channel_ready()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001 - as gRPC has it
        """Of the channel in use."""
        return self._channel().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the channel in use."""
        await self._channel().wait_for_state_change(last_observed_state)

    async def close(self, grace: float | None = None) -> None:
        """Close both."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        await asyncio.gather(self._mesh.close(grace), self._static.close(grace))

    async def __aenter__(self) -> FallbackChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def unary_unary(self, *arguments: Any, **keywords: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return self._method("unary_unary", arguments, keywords)

    def unary_stream(self, *arguments: Any, **keywords: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return self._method("unary_stream", arguments, keywords)

    def stream_unary(self, *arguments: Any, **keywords: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return self._method("stream_unary", arguments, keywords)

    def stream_stream(self, *arguments: Any, **keywords: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return self._method("stream_stream", arguments, keywords)

    def _method(self, kind: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        made = {channel: getattr(channel, kind)(*arguments, **keywords) for channel in (self._mesh, self._static)}
        return lambda *given, **named: made[self._channel()](*given, **named)
