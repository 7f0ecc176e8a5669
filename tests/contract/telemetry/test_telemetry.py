"""One job is one tree of spans, whatever processes it ran in; log lines say whose they are, and no secrets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TypeVar

from gateway import accounts, ledger
from gateway.store import Database, Store
from lensora.client import AsyncStudio, JobFailed
from tests.contract.harness import running_services
from tests.contract.scripted import PATIENCE
from tests.contract.telemetry.collector import Collector, Program, Span, collecting, program

STAGES = {
    "segment.Segment": "lensora.segment.v1.SegmentService/Segment",
    "background.BuildScene": "lensora.background.v1.BackgroundService/BuildScene",
    "background.Compose": "lensora.background.v1.BackgroundService/Compose",
    "mesh3d.Reconstruct": "lensora.mesh3d.v1.Mesh3dService/Reconstruct",
    "render.Render": "lensora.render.v1.RenderService/Render",
}
Value = TypeVar("Value")

PROMPT = "a secret garden"
TRACE, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


@contextlib.asynccontextmanager
async def gateway(
    home: Path, targets: dict[str, str], endpoint: str, **more: str
) -> AsyncIterator[tuple[Program, str]]:
    """A gateway process that serves, and where it does over HTTP and gRPC."""
    http = free_port()
    own = {"GATEWAY_HOME": str(home), "GATEWAY_LISTEN": "127.0.0.1:0", "GATEWAY_HTTP_LISTEN": http}
    own |= {f"GATEWAY_{name.upper()}": target for name, target in targets.items()}
    export = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{endpoint}"} if endpoint else {}
    async with program("-m", "gateway", **own, **export, **more) as running:
        ready = await running.until("ready")
        yield running, f"{ready['address']} {http}"


@contextlib.asynccontextmanager
async def services(home: Path, endpoint: str, *arguments: str) -> AsyncIterator[tuple[Program, dict[str, str]]]:
    """The scripted services as a process."""
    here = Path(__file__).parent / "services.py"
    export = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{endpoint}"}
    async with program(str(here), str(home), *arguments, **export) as running:
        ready = await running.until("ready")
        yield running, {name: ready[name] for name in ready if name.endswith("_target")}


def tree(collector: Collector, root: Span) -> list[Span]:
    """The span and all below it."""
    below = [span for span in collector.spans if span.parent_id == root.span_id]
    return [root, *(span for child in below for span in tree(collector, child))]


def only(values: list[Value]) -> Value:
    assert len(values) == 1, values
    return values[0]


def lines_of(running: Program, **fields: str) -> list[dict[str, Any]]:
    return [line for line in running.lines if fields.items() <= line.items()]


async def with_account(home: Path) -> str:
    """A key of an account with credits for one job and its photo."""
    database = Database.file(home / "studio.db")
    store = Store(database)
    await store.open()
    key = accounts.create_key(database, "acme")
    with database.writing() as connection:
        ledger.grant(connection, "acme", "test", 1000)
    database.close()
    return key


async def test_one_job_is_one_tree(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    key = await with_account(home)
    async with (
        collecting() as collector,
        services(tmp_path, collector.address) as (five, targets),
        gateway(home, targets, collector.address, GATEWAY_AUTH="keys") as (running, addresses),
    ):
        for url in (f"grpc://{addresses.split()[0]}", f"http://{addresses.split()[1]}"):
            async with AsyncStudio(key, url) as studio:
                session = await studio.init(url.encode())
                job = await session.transform(background=f"{PROMPT} by {url[:4]}", camera="dolly")
                await job.result()
                again = await session.transform(background=f"{PROMPT} by {url[:4]}", camera="turntable")
                await again.result()
        await running.stop()
        await five.stop()

    jobs = [line["job_id"] for line in running.lines if line["event"] == "job"]
    for name in ("lensora.studio.v1.StudioService/CreateJob", "POST /v1/studio/transform"):
        first, second = sorted(collector.named(name), key=lambda span: jobs.index(span.attributes["lensora.job_id"]))
        spans = tree(collector, first)
        assert {span.trace_id for span in spans} == {first.trace_id}
        work = only([span for span in spans if span.name == "job"])
        assert work.attributes["lensora.status"] == "succeeded"
        assert work.attributes["lensora.account"] == "acme"
        for stage, call in STAGES.items():
            told = only([span for span in spans if span.name == f"stage {stage}"])
            served = only([span for span in spans if span.name == call])
            assert (told.service, told.parent_id, told.attributes["lensora.reused"]) == ("gateway", work.span_id, False)
            assert (served.service, served.parent_id) == ("services", told.span_id)
            assert served.attributes["lensora.job_id"] == work.attributes["lensora.job_id"]
        reused = {span.name for span in tree(collector, second) if span.attributes.get("lensora.reused")}
        assert reused == {f"stage {stage}" for stage in STAGES if stage != "render.Render"}

        lines = lines_of(running, event="job", job_id=work.attributes["lensora.job_id"])
        assert [(line["trace_id"], line["span_id"], line["account"]) for line in lines] == [
            (work.trace_id, work.span_id, "acme")
        ]
        calls = lines_of(five, event="call", job_id=work.attributes["lensora.job_id"], account="acme")
        assert {line["method"].removeprefix("/") for line in calls} == set(STAGES.values())
        assert {line["trace_id"] for line in calls} == {work.trace_id}

    for said in (running.said, five.said, *(request.decode("latin-1") for request in collector.requests)):
        assert key not in said
        assert key.removeprefix("lsk_")[:24] not in said
        assert PROMPT not in said


async def test_what_is_measured(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with (
        collecting() as collector,
        services(tmp_path, collector.address, "refuse") as (five, targets),
        gateway(home, targets, collector.address) as (running, addresses),
    ):
        async with AsyncStudio(url=f"grpc://{addresses.split()[0]}") as studio:
            session = await studio.init(b"photo")
            job = await session.transform(background=PROMPT, camera="dolly")
            with _refused():
                await job.result()
            again = await session.transform(background=PROMPT, camera="dolly", idempotency_key="again")
            with _refused():
                await again.result()
        await running.stop()
        await five.stop()
    assert collector.point("lensora.stage.duration", service="segment", engine="scripted").count == 1
    assert collector.point("lensora.stage.reused", service="segment").as_int == 1
    assert collector.point("lensora.job.ended", status="failed").as_int == 2
    assert collector.point("lensora.credits.refunded").as_int == 150
    assert collector.point("lensora.watcher.open").as_int == 0
    failed = collector.named("stage mesh3d.Reconstruct")
    assert {span.failed for span in failed} == {"NO_SHAPE"}, "the reason, without the message, which may quote anything"
    assert PROMPT not in "".join(request.decode("latin-1") for request in collector.requests)


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except JobFailed as error:
        assert error.reason == "NO_SHAPE"
    else:
        raise AssertionError("the job did not fail")


async def test_a_job_that_goes_on_after_a_restart_stays_in_its_trace(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with collecting() as collector, running_services(tmp_path) as five:
        held = five["Render"].held()
        async with gateway(home, five.targets, collector.address) as (first, addresses):
            async with AsyncStudio(url=f"http://{addresses.split()[1]}") as studio:
                job = await (await studio.init(b"photo")).transform(background=PROMPT, camera="dolly")
                await five["Render"].begun()
            first.process.kill()
            await first.process.wait()
        held.set()
        async with gateway(home, five.targets, collector.address) as (second, addresses):
            line = await second.until("job")
            await second.stop()
        assert line["job_id"] == job.job_id
        assert line["status"] == "succeeded"
        work = only(collector.named("job"))
        assert line["trace_id"] == work.trace_id
        assert work.parent_id, "of the call that made it, which the first process served"
        stages = {span.name for span in collector.spans if span.parent_id == work.span_id}
        assert stages == {f"stage {stage}" for stage in STAGES}


async def test_a_callers_own_trace_goes_on(tmp_path: Path) -> None:
    import httpx

    async with collecting() as collector, running_services(tmp_path) as five:
        async with gateway(tmp_path / "home", five.targets, collector.address) as (running, addresses):
            headers = {"traceparent": f"00-{TRACE}-{ABOVE}-01", "x-account": "somebody-else", "x-job-id": "another"}
            async with httpx.AsyncClient(base_url=f"http://{addresses.split()[1]}", headers=headers) as client:
                assert (await client.get("/v1/credits")).status_code == 200
                assert (await client.get("/healthz")).status_code == 200
            await running.stop()
        call = only(collector.spans)
        assert (call.name, call.trace_id, call.parent_id) == ("GET /v1/credits", TRACE, ABOVE)
        assert call.attributes == {"lensora.account": "local", "http.response.status_code": 200}
        line = only(lines_of(running, event="call"))
        assert (line["trace_id"], line["account"]) == (TRACE, "local")
        assert "job_id" not in line, "strangers' ids are not believed"


async def test_without_a_collector_there_is_nothing(tmp_path: Path) -> None:
    async with running_services(tmp_path) as five, gateway(tmp_path / "home", five.targets, "") as (running, addresses):
        async with AsyncStudio(url=f"grpc://{addresses.split()[0]}") as studio:
            job = await (await studio.init(b"photo")).transform(background=PROMPT, camera="dolly")
            await job.result()
        await running.stop()
    assert {line["level"] for line in running.lines} == {"info"}
    assert not [line for line in running.lines if "trace_id" in line]
    assert only(lines_of(running, event="job", job_id=job.job_id))["account"] == "local"


async def test_a_collector_that_is_gone_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with (
        running_services(tmp_path) as five,
        gateway(tmp_path / "home", five.targets, free_port()) as (running, at),
    ):
        async with AsyncStudio(url=f"grpc://{at.split()[0]}") as studio:
            await studio.init(b"photo")
        running.process.terminate()
        async with asyncio.timeout(PATIENCE):
            assert await running.process.wait() == 0


async def test_the_queue_is_measured(tmp_path: Path) -> None:
    narrow = {"GATEWAY_RUNNING_JOBS": "1", "GATEWAY_SWEEP_SECONDS": "0.1"}
    async with collecting() as collector, running_services(tmp_path) as five:
        held = five["Segment"].held()
        async with gateway(tmp_path / "home", five.targets, collector.address, **narrow) as (running, addresses):
            async with AsyncStudio(url=f"grpc://{addresses.split()[0]}") as studio:
                session = await studio.init(b"photo")
                jobs = [await session.transform(background=PROMPT, camera="dolly", seed=seed) for seed in range(3)]
                await five["Segment"].begun()
                await collector.until("lensora.job.open", 2, status="queued")
                await collector.until("lensora.job.open", 1, status="running")
                held.set()
                for job in jobs:
                    await job.result()
                await collector.until("lensora.job.open", 0, status="queued")
            await running.stop()
