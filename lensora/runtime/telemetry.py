"""What a process tells about itself: structured logs always, traces and metrics where a collector wants them.

A log line is one JSON object (or one readable line) on standard error. With ``OTEL_EXPORTER_OTLP_ENDPOINT`` in the
environment, spans and metrics go there by OTLP over gRPC; without it OpenTelemetry's API does nothing, and its SDK is
not even imported.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog
from opentelemetry import context, metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from lensora.core.errors import LensoraError

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""The usual variable; the SDK reads the others of its kind (headers, certificates, sampling) by itself."""

_CARRIED = {"job_id": "x-job-id", "account": "x-account"}
"""Ids that follow a job into the services, and the metadata that they travel in."""

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_EXPORT_SECONDS = 3
_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("lensora")


def configure_logs(service: str, *, level: str, log_format: str) -> None:
    """Set up structlog for this process; every event carries ``service`` and the ids of what it belongs to."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            functools.partial(_add_origin, service),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _Lines(sys.stderr),
        cache_logger_on_first_use=True,
    )


class _Lines(structlog.WriteLogger):
    """Lines that are lost where nothing takes them, as on a full disk, while the work goes on."""

    def msg(self, message: str) -> None:
        """Write one."""
        with contextlib.suppress(OSError):
            super().msg(message)

    debug = info = warning = error = critical = msg


def _add_origin(service: str, _: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """Which service, in whatever thread, and which span."""
    event["service"] = service
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"], event["span_id"] = trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id)
    return event


def configure_export(service: str) -> Callable[[], None]:
    """Send spans and metrics to the collector that the environment names, if it does.

    Returns:
        To be called at the end: sends what is left, for a few seconds at most.
    """
    if not os.environ.get(ENDPOINT):
        return lambda: None
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_NAMESPACE, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({SERVICE_NAME: service, SERVICE_NAMESPACE: "lensora"})
    # not at the interpreter's exit, where nothing bounds it
    traces = TracerProvider(resource=resource, shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_EXPORT_SECONDS)))
    trace.set_tracer_provider(traces)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(timeout=_EXPORT_SECONDS))
    measures = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    metrics.set_meter_provider(measures)

    def flush() -> None:
        traces.shutdown()
        measures.shutdown(timeout_millis=_EXPORT_SECONDS * 1000)

    return flush


@contextlib.contextmanager
def span(name: str, parent: str = "", **attributes: str | bool | int) -> Iterator[Span]:
    """A part of the work, under the present one, or under ``parent``, a W3C traceparent.

    What ends it badly is told by its reason alone, because messages may quote what callers wrote.
    """
    above = _propagator.extract({"traceparent": parent}) if parent else None
    with _tracer.start_as_current_span(
        name, above, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as one:
        try:
            yield one
        except BaseException as error:
            one.set_status(_status(error))
            raise


class ServedCall:
    """The span of a call that is being served, and the ids in its log lines; made in a task of the call's own.

    Args:
        name: of the span.
        headers: of the call, lower case.
        public: whether anybody may call; then ids in headers are not believed.
    """

    def __init__(self, name: str, headers: Mapping[str, str], *, public: bool) -> None:
        self._span = _tracer.start_span(name, _propagator.extract(dict(headers)), SpanKind.SERVER)
        context.attach(trace.set_span_in_context(self._span))  # for the task, so never detached
        if not public:
            ids = {name_of_id: headers.get(header, "") for name_of_id, header in _CARRIED.items()}
            identify(**{name_of_id: value for name_of_id, value in ids.items() if _PLAIN.fullmatch(value)})

    def end(self, error: BaseException | None, name: str = "", **attributes: str | int) -> None:
        """The call is over.

        Args:
            error: what ended it.
            name: a better one for the span, known by now.
            attributes: of the span.
        """
        if name:
            self._span.update_name(name)
        self._span.set_attributes(attributes)
        if error is not None:
            self._span.set_status(_status(error))
        self._span.end()


def identify(**ids: str) -> None:
    """Put ``account`` or ``job_id`` on the present span, and on the log lines of the present task."""
    structlog.contextvars.bind_contextvars(**ids)
    trace.get_current_span().set_attributes({f"lensora.{name}": value for name, value in ids.items()})


def outgoing() -> dict[str, str]:
    """Metadata by which a call to another service goes on with this trace and these ids."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    bound = structlog.contextvars.get_contextvars()
    return carrier | {header: str(bound[name]) for name, header in _CARRIED.items() if name in bound}


def traceparent() -> str:
    """The present span, for ``span`` in another process or at another time; empty where nothing is traced."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", "")


def _status(error: BaseException) -> Status:
    return Status(StatusCode.ERROR, error.reason if isinstance(error, LensoraError) else type(error).__name__)
