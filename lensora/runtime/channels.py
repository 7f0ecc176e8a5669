"""Channels to other processes; ``callees`` has those to the services, which may lead through the mesh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lensora.core.errors import Unavailable

_OPTIONS = (
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.max_send_message_length", 32 * 1024 * 1024),
    # a service that was restarted is found again quickly
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def open_channel(
    target: str, credentials: grpc.ChannelCredentials | None = None, options: Sequence[tuple[str, str]] = ()
) -> grpc.aio.Channel:
    """A channel to ``target``, over TLS where there are credentials; connects on the first call."""
    if credentials is not None:
        return grpc.aio.secure_channel(target, credentials, options=(*_OPTIONS, *options))
    return grpc.aio.insecure_channel(target, options=(*_OPTIONS, *options))


async def wait_serving(channel: grpc.aio.Channel, seconds: float) -> None:
    """Wait until the server's health is SERVING.

    Raises:
        Unavailable: not within ``seconds``.
    """
    request = health_pb2.HealthCheckRequest()
    stub: Any = health_pb2_grpc.HealthStub(channel)
    call = stub.Watch(request, timeout=seconds, wait_for_ready=True)
    try:
        async for response in call:
            if response.status == health_pb2.HealthCheckResponse.SERVING:
                return
    except grpc.aio.AioRpcError as error:
        raise Unavailable(f"not serving after {seconds:g} s", reason="NOT_SERVING") from error
    finally:
        call.cancel()
    raise Unavailable("the health watch ended without an answer", reason="NOT_SERVING")
