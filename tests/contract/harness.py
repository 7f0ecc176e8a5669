"""A real gateway over scripted services, and what a caller does with it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import obstore
import pytest
from sqlalchemy import event

from gateway import signing
from gateway.blobs import BlobStore, open_store
from gateway.edge import grpc as edge
from gateway.edge.http import Edge, HttpServer
from gateway.health import Health
from gateway.jobs import Studio
from gateway.model import Job, Session
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.stages import Stages
from gateway.store import Database, Store
from lensora.core.blobs import file_url
from lensora.core.errors import LensoraError
from lensora.core.outside import Outside
from lensora.runtime.errors import from_rpc
from lensora.studio.v1 import studio_pb2, studio_pb2_grpc
from lensora.type.v1 import scene_pb2
from tests.contract.scripted import PATIENCE, Services

TERMINAL = {studio_pb2.JOB_STATUS_SUCCEEDED, studio_pb2.JOB_STATUS_FAILED, studio_pb2.JOB_STATUS_CANCELLED}


@dataclass(slots=True)
class Gateway:
    """A gateway that serves, and a caller's stub to it."""

    settings: Settings
    services: Services
    store: Store
    blobs: BlobStore
    studio: Studio
    address: str
    stub: Any
    http: str
    """``http://host:port`` of the HTTP edge."""
    signer: Signer
    health: Health
    photo: bytes = b"a photo"
    """What is uploaded where a test does not say."""

    async def upload(self, photo: bytes | None = None, max_objects: int = 0) -> studio_pb2.Session:
        """Make a session."""
        messages = [
            studio_pb2.CreateSessionRequest(options=studio_pb2.SessionOptions(max_objects=max_objects)),
            studio_pb2.CreateSessionRequest(chunk=photo or self.photo),
        ]
        session: studio_pb2.Session = (await self.stub.CreateSession(messages, timeout=PATIENCE)).session
        return session

    async def create(self, spec: studio_pb2.JobSpec) -> studio_pb2.Job:
        """Start a job."""
        request = studio_pb2.CreateJobRequest(spec=spec)
        job: studio_pb2.Job = (await self.stub.CreateJob(request, timeout=PATIENCE)).job
        return job

    async def start(self, **changes: Any) -> studio_pb2.Job:
        """Start a job on a photo."""
        return await self.create(spec_of((await self.upload()).session_id, **changes))

    async def get(self, job_id: str) -> studio_pb2.Job:
        """The job as it is now."""
        job: studio_pb2.Job = (await self.stub.GetJob(studio_pb2.GetJobRequest(job_id=job_id), timeout=PATIENCE)).job
        return job

    async def cancel(self, job_id: str) -> studio_pb2.Job:
        """Cancel the job."""
        request = studio_pb2.CancelJobRequest(job_id=job_id)
        job: studio_pb2.Job = (await self.stub.CancelJob(request, timeout=PATIENCE)).job
        return job

    def watch(self, job_id: str, after: int = 0) -> Any:
        """The stream of the job's events."""
        request = studio_pb2.WatchJobRequest(job_id=job_id, after_seq=after)
        return self.stub.WatchJob(request, timeout=PATIENCE)

    async def until(
        self, job_id: str, step: studio_pb2.Step.ValueType, state: studio_pb2.StepState.ValueType
    ) -> studio_pb2.JobEvent:
        """Wait for the event that says so."""
        async for response in self.watch(job_id):
            if (response.event.step, response.event.state) == (step, state):
                event: studio_pb2.JobEvent = response.event
                return event
        raise AssertionError("the job ended without it")

    async def story(self, job_id: str) -> list[studio_pb2.WatchJobResponse]:
        """All events to the end, checked against what every story must be."""
        responses = [response async for response in self.watch(job_id)]
        check_story(responses)
        return responses

    async def finished(self, job_id: str) -> studio_pb2.Job:
        """The job, once its whole story is told."""
        return (await self.story(job_id))[-1].job

    async def make(self, **changes: Any) -> studio_pb2.Job:
        """A job from its photo to its end, which must be a good one."""
        job = await self.finished((await self.start(**changes)).job_id)
        assert job.status == studio_pb2.JOB_STATUS_SUCCEEDED, job.error
        return job

    async def download(
        self, job_id: str, kind: studio_pb2.ArtifactKind.ValueType, offset: int = 0
    ) -> list[studio_pb2.DownloadArtifactResponse]:
        """All messages of a download."""
        request = studio_pb2.DownloadArtifactRequest(job_id=job_id, kind=kind, offset=offset)
        return [response async for response in self.stub.DownloadArtifact(request, timeout=PATIENCE)]

    async def add_session(self, session: Session) -> None:
        """Store a session that no upload made."""
        with self.store.database.writing() as connection:
            self.store.add_session(connection, session)

    async def add_job(self, job: Job) -> None:
        """Store a job that nobody asked for, and nobody will run."""
        with self.store.database.writing() as connection:
            self.store.add_job(connection, job)

    async def cancel_all(self) -> None:
        """End what still runs."""
        for run in await self.store.open_runs():
            await self.studio.cancel(run.account_id, run.job_id)

    async def settled(self, left: Callable[[], Any]) -> None:
        """Wait until ``left()`` is empty: for what the gateway tidies after it has answered."""
        async with asyncio.timeout(PATIENCE):
            while left():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)

    def staged(self) -> list[str]:
        """Files in the staging area."""
        if self.blobs.folder is None:
            return [key for key in keys_of(self.blobs) if key.startswith(".staging/")]
        staging = self.blobs.folder / ".staging"
        return sorted(file.name for file in staging.iterdir()) if staging.exists() else []


def keys_of(blobs: BlobStore) -> list[str]:
    """All keys in the store, those in the staging area with them."""
    return sorted(meta["path"] for metas in obstore.list(blobs._store) for meta in metas)


@contextlib.asynccontextmanager
async def running_services(where: Path | str) -> AsyncIterator[Services]:
    """Five scripted services that read and write below a folder, or a prefix of addresses."""
    services = Services(where if isinstance(where, str) else file_url(where) + "/")
    await asyncio.gather(*(service.start() for service in services))
    try:
        yield services
    finally:
        await asyncio.gather(*(service.stop() for service in services))


class Shared:
    """The gateway that most tests share; it makes room for another, as a process can run but one."""

    def __init__(self) -> None:
        self.running: Gateway | None = None
        self._stack = contextlib.AsyncExitStack()

    async def get(self, home: Path, services: Services) -> Gateway:
        """The gateway, started if need be."""
        if self.running is None:
            self.running = await self._stack.enter_async_context(_gateway(home, services))
        return self.running

    async def stop(self) -> None:
        """Stop it, if it runs."""
        self.running = None
        await self._stack.aclose()


shared = Shared()


@contextlib.asynccontextmanager
async def running_gateway(
    home: Path, services: Services, outside: Outside | None = None, **changes: Any
) -> AsyncIterator[Gateway]:
    """A gateway of one's own, in place of the shared one."""
    await shared.stop()
    async with _gateway(home, services, outside, **changes) as running:
        yield running


@contextlib.asynccontextmanager
async def _gateway(
    home: Path, services: Services, outside: Outside | None = None, **changes: Any
) -> AsyncIterator[Gateway]:
    """A gateway, wired as its composition root does it."""
    free = {"listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0"}
    settings = Settings(home=home, **free | services.targets | changes)
    database = Database.of(settings)
    if database.is_sqlite:
        event.listen(database._engine, "connect", _hurry)
    store, blobs = Store(database), open_store(settings.blobs_url, home / "blobs", settings.url_seconds)
    studio = Studio(settings, store, blobs, Stages(settings, store, blobs), outside)
    signer, now = signing.signer(settings), time.time()
    signer._clock = lambda: now  # else two looks at one job could differ
    listener = edge.listener(settings.listen, studio, signer)
    health = Health(settings, database, blobs)
    http = HttpServer(Edge(settings, studio, signer, health))
    await studio.start()
    await listener.server.start()
    await http.start()
    try:
        async with grpc.aio.insecure_channel(listener.address) as channel:
            stub = studio_pb2_grpc.StudioServiceStub(channel)
            where = f"http://{http.address}"
            yield Gateway(settings, services, store, blobs, studio, listener.address, stub, where, signer, health)
    finally:
        await http.stop()
        await listener.server.stop(0)
        await studio.stop()


def _hurry(connection: Any, _: Any) -> None:
    """Spare the disk: no test here pulls the plug."""
    connection.execute("PRAGMA synchronous=OFF")


def spec_of(session_id: str, /, **changes: Any) -> studio_pb2.JobSpec:
    """A spec that is fine but for ``changes``; a change to None clears the field."""
    fields: dict[str, Any] = {
        "session_id": session_id,
        "background": studio_pb2.Background(prompt="a marble table"),
        "camera_preset": scene_pb2.CAMERA_PRESET_CINEMATIC,
    }
    return studio_pb2.JobSpec(**fields | changes)


async def refused(call: Awaitable[Any], code: grpc.StatusCode, reason: str | None = None) -> LensoraError:
    """The error that the call ends with, which must have this code, and this reason where one is given."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code, caught.value
    error = from_rpc(caught.value)
    assert reason is None or error.reason == reason, (error.reason, error.message)
    return error


async def collect(stream: Any) -> list[Any]:
    """All messages of a stream."""
    return [message async for message in stream]


def check_story(responses: list[studio_pb2.WatchJobResponse]) -> None:
    """What holds for the story of every job that was watched from its beginning to its end."""
    events = [response.event for response in responses]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.status in TERMINAL for event in events] == [False] * (len(events) - 1) + [True]
    assert [event.step == studio_pb2.STEP_DONE for event in events] == [False] * (len(events) - 1) + [True]
    assert [response.HasField("job") for response in responses] == [False] * (len(events) - 1) + [True]
    assert [event.status for event in events[:-1]] == [studio_pb2.JOB_STATUS_RUNNING] * (len(events) - 1)
    for name in ("progress", "fraction", "state"):
        per_step = [events] if name == "progress" else [[e for e in events if e.step == step] for step in range(1, 7)]
        for of_one in per_step:
            values = [getattr(event, name) for event in of_one]
            assert values == sorted(values), f"{name} went back: {values}"
    times = [event.time.ToNanoseconds() for event in events]
    assert times == sorted(times)
    check_end(responses[-1].job)


def check_end(job: studio_pb2.Job) -> None:
    """What holds for every job that has ended."""
    assert job.status in TERMINAL
    assert [record.step for record in job.steps] == list(range(1, 7))
    if job.status == studio_pb2.JOB_STATUS_SUCCEEDED:
        assert (job.progress, job.step) == (1.0, studio_pb2.STEP_DONE)
        alpha = [5] if job.spec.background.WhichOneof("kind") == "transparent" else []
        assert sorted(artifact.kind for artifact in job.artifacts) == [1, 2, 3, 4, *alpha]
        assert all(artifact.size > 0 and len(artifact.sha256) == 64 for artifact in job.artifacts)
        assert {record.state for record in job.steps} == {studio_pb2.STEP_STATE_DONE}
    else:
        assert not job.artifacts
        assert job.progress < 1.0
        ended = {studio_pb2.STEP_STATE_DONE, studio_pb2.STEP_STATE_FAILED, studio_pb2.STEP_STATE_CANCELLED}
        assert {record.state for record in job.steps} <= ended
    assert job.HasField("error") == (job.status == studio_pb2.JOB_STATUS_FAILED)
    assert job.HasField("ended_at")
    failed = [record.step for record in job.steps if record.state == studio_pb2.STEP_STATE_FAILED]
    assert failed == ([job.error.step] if job.HasField("error") else []), "the failed step, and it alone, is marked"
