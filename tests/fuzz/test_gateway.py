"""The gateway's own edge, over services that do as they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, running_gateway, running_services, spec_of
from tests.fuzz import files
from tests.fuzz.harness import PATIENCE, Caller, fuzz
from tests.fuzz.strategies import mangled, messages, requests, text

pytestmark = pytest.mark.filterwarnings("default")  # as in production, where a warning is no error

NOWHERE = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def gateway(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on its own, with one session and one job that has ended."""
    stack, home = contextlib.AsyncExitStack(), tmp_path_factory.mktemp("home")

    async def start() -> Gateway:
        services = await stack.enter_async_context(running_services(home))
        return await stack.enter_async_context(running_gateway(home, services))

    yield runner.run(start())
    runner.run(stack.aclose())


@pytest.fixture(autouse=True)
def tidied(runner: asyncio.Runner, gateway: Gateway) -> Iterator[None]:
    """No case leaves anything behind but its job."""
    yield
    runner.run(gateway.cancel_all())
    runner.run(gateway.settled(gateway.staged))


@pytest.fixture(scope="module")
def stranger(runner: asyncio.Runner, gateway: Gateway) -> Caller:
    """Calls it."""
    return Caller(runner, gateway.stub)


@pytest.fixture(scope="module")
def session_id(runner: asyncio.Runner, gateway: Gateway) -> str:
    """A session that is there."""
    return runner.run(gateway.upload()).session_id


@pytest.fixture(scope="module")
def job_id(runner: asyncio.Runner, gateway: Gateway, session_id: str) -> str:
    """A job that has ended."""
    job_id = runner.run(gateway.create(spec_of(session_id))).job_id
    return runner.run(gateway.finished(job_id)).job_id


def calls(gateway: Gateway, stranger: Caller, method: str, request: Any, name: str) -> str:
    return stranger.ask(name, lambda: getattr(gateway.stub, method)(request, timeout=PATIENCE))


UPLOADS = st.lists(
    st.one_of(
        messages(studio_pb2.CreateSessionRequest),
        st.builds(lambda data: studio_pb2.CreateSessionRequest(chunk=data), mangled(files.photos())),
        st.builds(
            lambda count: studio_pb2.CreateSessionRequest(options=studio_pb2.SessionOptions(max_objects=count)),
            st.integers(-1, 10),
        ),
    ),
    max_size=5,
)


@fuzz(50)
@given(UPLOADS)
def test_uploads(gateway: Gateway, stranger: Caller, upload: list[Any]) -> None:
    calls(gateway, stranger, "CreateSession", upload, "gateway uploads")


def with_picture(data: bytes) -> studio_pb2.CreateJobRequest:
    return studio_pb2.CreateJobRequest(spec=spec_of(NOWHERE, background=studio_pb2.Background(picture=data)))


WORDS = studio_pb2.CreateJobRequest(spec=spec_of(NOWHERE))


@fuzz(60)
@given(requests(WORDS) | requests(with_picture(files.photos()[0])) | mangled(files.photos()).map(with_picture))
def test_jobs(gateway: Gateway, stranger: Caller, session_id: str, request: studio_pb2.CreateJobRequest) -> None:
    if request.spec.session_id == NOWHERE:
        request.spec.session_id = session_id
    calls(gateway, stranger, "CreateJob", request, "gateway jobs")


@fuzz(50)
@given(text(1100))
def test_prompts(gateway: Gateway, stranger: Caller, session_id: str, prompt: str) -> None:
    spec = spec_of(session_id, background=studio_pb2.Background(prompt=prompt))
    calls(gateway, stranger, "CreateJob", studio_pb2.CreateJobRequest(spec=spec), "gateway prompts")


READS = st.one_of(
    *(
        requests(whole).map(lambda request, method=method: (method, request))  # type: ignore[misc]
        for method, whole in (
            ("GetJob", studio_pb2.GetJobRequest(job_id=NOWHERE)),
            ("WatchJob", studio_pb2.WatchJobRequest(job_id=NOWHERE, after_seq=1)),
            ("CancelJob", studio_pb2.CancelJobRequest(job_id=NOWHERE)),
            ("DeleteSession", studio_pb2.DeleteSessionRequest(session_id=NOWHERE)),
            ("ListJobs", studio_pb2.ListJobsRequest(page_size=1, page_token="1")),  # noqa: S106
            (
                "DownloadArtifact",
                studio_pb2.DownloadArtifactRequest(job_id=NOWHERE, kind=studio_pb2.ARTIFACT_KIND_GLB, offset=1),
            ),
        )
    )
)


@fuzz(60)
@given(READS)
def test_reads(gateway: Gateway, stranger: Caller, job_id: str, asked: tuple[str, Any]) -> None:
    method, request = asked
    if getattr(request, "job_id", "") == NOWHERE:
        request.job_id = job_id
    calls(gateway, stranger, method, request, f"gateway {method}")
