"""Log lines and metadata carry ids, and those of strangers are not believed; nothing is imported for nobody."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from lensora.core.errors import FailedPrecondition
from lensora.runtime.telemetry import ServedCall, identify, outgoing, span, traceparent

IDS = {"x-job-id": "a-job", "x-account": "acme"}


@pytest.fixture(autouse=True)
def _unbound() -> Iterator[None]:
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()


def bound(headers: dict[str, str], *, public: bool) -> dict[str, str]:
    """What a call with these headers puts on its log lines."""

    async def call() -> dict[str, str]:
        served = ServedCall("call", headers, public=public)
        ids = structlog.contextvars.get_contextvars()
        served.end(None)
        return ids

    return asyncio.run(call())


def test_ids_follow_a_job_into_the_services() -> None:
    identify(job_id="a-job", account="acme")
    assert outgoing() == IDS
    structlog.contextvars.clear_contextvars()
    assert bound(IDS, public=False) == {"job_id": "a-job", "account": "acme"}


def test_ids_of_strangers_are_not_believed() -> None:
    assert bound(IDS, public=True) == {}
    assert bound({"x-job-id": "two\nlines", "x-account": "x" * 65}, public=False) == {}


def test_a_trace_goes_on_without_an_sdk() -> None:
    above = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with span("work", parent=above):
        assert traceparent() == above
        assert outgoing() == {"traceparent": above}
    assert traceparent() == ""


def test_errors_go_through_a_span() -> None:
    with pytest.raises(FailedPrecondition), span("work"):
        raise FailedPrecondition("no")


_PROGRAM = """
import sys
import structlog
from lensora.runtime.server import run_process
from lensora.runtime.telemetry import span

async def main():
    with span("work", parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
        structlog.get_logger().info("hello", sdk="opentelemetry.sdk" in sys.modules)

sys.exit(run_process(main, "toy", level="info", log_format="json", with_parent=False))
"""


def test_a_line_of_a_process_without_a_collector() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ran = subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    line = json.loads(ran.stderr)
    assert (line["event"], line["service"], line["sdk"]) == ("hello", "toy", False)
    assert (line["trace_id"], line["span_id"]) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


_TALKER = """
import structlog
from lensora.runtime.telemetry import configure_logs

configure_logs("toy", level="info", log_format="json")
for _ in range(1000):
    structlog.get_logger().error("a long line " * 20)
print("went on", flush=True)
"""


def test_a_disk_that_takes_no_lines_ends_nothing() -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", _TALKER], stdout=subprocess.PIPE, stderr=full, text=True, check=False
        )
    assert ran.stdout == "went on\n"
