"""The gRPC servicers that clients talk to by themselves: discovery, and reports of their loads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog
from google.protobuf import duration_pb2

from controlplane import metrics, wire
from controlplane.loads import Load
from controlplane.resources import Snapshot
from controlplane.session import Session
from controlplane.state import State
from controlplane.wire import xds_pb2

_log = structlog.get_logger()

Context = grpc.aio.ServicerContext[Any, Any]


def add_to_server(state: State, report_seconds: float, server: grpc.aio.Server) -> None:
    """Serve both; by hand, because the messages' names are our own."""
    for service, method, handler, request, response in (
        (wire.DISCOVERY_SERVICE, "StreamAggregatedResources", _Discovery(state).stream,
         xds_pb2.DiscoveryRequest, xds_pb2.DiscoveryResponse),
        (wire.LOAD_SERVICE, "StreamLoadStats", _Reports(state, report_seconds).stream,
         xds_pb2.LoadStatsRequest, xds_pb2.LoadStatsResponse),
    ):  # fmt: skip
        streaming = grpc.stream_stream_rpc_method_handler(handler, request.FromString, response.SerializeToString)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: streaming}),))


class _Discovery:
    def __init__(self, state: State) -> None:
        self._state = state

    async def stream(
        self, requests: AsyncIterator[xds_pb2.DiscoveryRequest], context: Context
    ) -> AsyncIterator[xds_pb2.DiscoveryResponse]:
        """StreamAggregatedResources: answers requests and tells news, in the order in which they come."""
        session = Session(self._state.snapshot)
        self._state.sessions[session] = context.peer()
        metrics.clients.add(1)
        try:
            with self._state.listening() as inbox:
                async with _reading(requests, inbox):
                    while (item := await inbox.get()) is not None:
                        for response in _answers(session, item):
                            yield response
        finally:
            del self._state.sessions[session]
            metrics.clients.add(-1)


def _answers(session: Session, item: Any) -> list[xds_pb2.DiscoveryResponse]:
    if isinstance(item, Snapshot):
        return list(session.update(item))
    response = session.request(item)
    if item.HasField("error_detail"):
        kind = wire.KINDS.get(item.type_url, "other")
        metrics.rejections.add(1, {"kind": kind})
        _log.error("client refused", node=session.node, kind=kind, message=item.error_detail.message[:300])
    return [] if response is None else [response]


class _Reports:
    def __init__(self, state: State, seconds: float) -> None:
        self._loads = state.loads
        interval = duration_pb2.Duration()
        interval.FromNanoseconds(int(seconds * 1e9))
        self._wish = xds_pb2.LoadStatsResponse(load_reporting_interval=interval, send_all_clusters=True)

    async def stream(
        self, requests: AsyncIterator[xds_pb2.LoadStatsRequest], context: Context
    ) -> AsyncIterator[xds_pb2.LoadStatsResponse]:
        """StreamLoadStats: says once what it wants, then listens."""
        stream = f"{context.peer()} {id(context)}"
        try:
            async for request in requests:
                if not request.cluster_stats and request.HasField("node"):
                    yield self._wish
                for (service, track), load in self._loads.add(stream, request).items():
                    _count(service, track, load)
        finally:
            self._loads.forget(stream)


def _count(service: str, track: str, load: Load) -> None:
    for outcome, count in (("ok", load.succeeded), ("error", load.failed), ("dropped", load.dropped)):
        if count:
            metrics.requests.add(count, {"service": service, "track": track, "outcome": outcome})


@contextlib.asynccontextmanager
async def _reading(requests: AsyncIterator[Any], inbox: asyncio.Queue[Any]) -> AsyncIterator[None]:
    """Put all requests into the inbox, and None after the last."""

    async def read() -> None:
        try:
            async for request in requests:
                inbox.put_nowait(request)
        finally:
            inbox.put_nowait(None)

    task = asyncio.create_task(read())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
