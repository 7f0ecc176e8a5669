"""Channels to other services: direct targets on one machine."""

from __future__ import annotations

import grpc

_OPTIONS = (
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.max_send_message_length", 32 * 1024 * 1024),
    # a service that was restarted is found again quickly
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def open_channel(target: str) -> grpc.aio.Channel:
    """A channel to ``target``; connects on the first call."""
    return grpc.aio.insecure_channel(target, options=_OPTIONS)
