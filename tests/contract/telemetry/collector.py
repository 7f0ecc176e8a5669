"""An OTLP receiver, and processes that send to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.contract.scripted import PATIENCE

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Span:
    """One span, as it came."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    failed: str
    """Why, where it ended badly."""


@dataclass(slots=True)
class Collector:
    """All that came."""

    spans: list[Span] = field(default_factory=list)
    metrics: dict[tuple[str, frozenset[tuple[str, Any]]], Any] = field(default_factory=dict)
    """Latest data point by name and attributes."""
    requests: list[bytes] = field(default_factory=list)
    """Every request as it was on the wire."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    address: str = ""

    async def Export(self, request: Any, _: Any) -> Any:  # noqa: N802 - both services name it so
        """See the protos."""
        self.requests.append(request.SerializeToString())
        self.news.set()
        if isinstance(request, trace_service_pb2.ExportTraceServiceRequest):
            for resource in request.resource_spans:
                service = _plain(resource.resource.attributes)["service.name"]
                for scope in resource.scope_spans:
                    self.spans.extend(_span(service, span) for span in scope.spans)
            return trace_service_pb2.ExportTraceServiceResponse()
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in getattr(metric, metric.WhichOneof("data")).data_points:
                        self.metrics[metric.name, frozenset(_plain(point.attributes).items())] = point
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def named(self, name: str) -> list[Span]:
        """All spans of this name."""
        return [span for span in self.spans if span.name == name]

    async def until(self, name: str, value: int, **attributes: Any) -> None:
        """Wait for a data point of this value."""
        key = name, frozenset(attributes.items())
        async with asyncio.timeout(PATIENCE):
            while key not in self.metrics or self.metrics[key].as_int != value:
                self.news.clear()
                await self.news.wait()

    def point(self, name: str, **attributes: Any) -> Any:
        """The latest data point."""
        return self.metrics[name, frozenset(attributes.items())]


def _plain(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}


def _span(service: str, span: Any) -> Span:
    return Span(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _plain(span.attributes),
        span.status.message if span.status.code == 2 else "",
    )


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A receiver on a free port."""
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)


class Program:
    """A process of ours, and the lines of its log as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process, self.lines = process, list[dict[str, Any]]()
        self.said = ""

    async def until(self, event: str) -> dict[str, Any]:
        """Read on to the line of this event."""
        assert self.process.stderr is not None
        async with asyncio.timeout(3 * PATIENCE):
            while line := (await self.process.stderr.readline()).decode():
                self._take(line)
                if self.lines and self.lines[-1]["event"] == event:
                    return self.lines[-1]
        raise AssertionError(f"it ended without {event!r}: {self.said}")

    async def stop(self) -> None:
        """Ask it to end, and read what it says to its end."""
        self.process.terminate()
        assert self.process.stderr is not None
        async with asyncio.timeout(3 * PATIENCE):
            while line := (await self.process.stderr.readline()).decode():
                self._take(line)
            assert await self.process.wait() == 0, self.said

    def _take(self, line: str) -> None:
        self.said += line
        self.lines.append(json.loads(line))


@contextlib.asynccontextmanager
async def program(*arguments: str, **environment: str) -> AsyncIterator[Program]:
    """``python ARGUMENTS``; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OTEL_METRIC_EXPORT_INTERVAL": "500"} | environment,
    )  # fmt: skip
    try:
        yield Program(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
