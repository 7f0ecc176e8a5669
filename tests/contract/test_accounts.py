"""Keys: who has none is told nothing, and who has one sees what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from rich.console import Console

from cli.detect import detect
from cli.make import studio_at
from gateway import accounts, ledger
from lensora.core.errors import LensoraError, Unauthenticated
from lensora.core.imaging import encode_png
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, collect, refused, running_gateway, running_services, spec_of
from tests.contract.scripted import PATIENCE

Rpc = Callable[["Caller", str, str], Awaitable[Any]]
VIDEO = studio_pb2.ARTIFACT_KIND_VIDEO


@dataclass(slots=True)
class Caller:
    """Somebody who calls with a key, or with whatever stands in its place."""

    stub: Any
    authorization: str | None

    def call(self, name: str, request: Any) -> Any:
        metadata = None if self.authorization is None else (("authorization", self.authorization),)
        return getattr(self.stub, name)(request, timeout=PATIENCE, metadata=metadata)

    async def create_session(self, _: str, __: str) -> Any:
        messages = [
            studio_pb2.CreateSessionRequest(options=studio_pb2.SessionOptions()),
            studio_pb2.CreateSessionRequest(chunk=b"photo"),
        ]
        return await self.call("CreateSession", messages)

    async def delete_session(self, session_id: str, _: str) -> Any:
        return await self.call("DeleteSession", studio_pb2.DeleteSessionRequest(session_id=session_id))

    async def create_job(self, session_id: str, _: str) -> Any:
        return await self.call("CreateJob", studio_pb2.CreateJobRequest(spec=spec_of(session_id)))

    async def get_job(self, _: str, job_id: str) -> Any:
        return await self.call("GetJob", studio_pb2.GetJobRequest(job_id=job_id))

    async def watch_job(self, _: str, job_id: str) -> Any:
        return await collect(self.call("WatchJob", studio_pb2.WatchJobRequest(job_id=job_id)))

    async def cancel_job(self, _: str, job_id: str) -> Any:
        return await self.call("CancelJob", studio_pb2.CancelJobRequest(job_id=job_id))

    async def list_jobs(self, _: str, __: str) -> Any:
        return await self.call("ListJobs", studio_pb2.ListJobsRequest())

    async def download_artifact(self, _: str, job_id: str) -> Any:
        request = studio_pb2.DownloadArtifactRequest(job_id=job_id, kind=VIDEO)
        return await collect(self.call("DownloadArtifact", request))


OF_OTHERS: list[Rpc] = [
    Caller.create_job,
    Caller.get_job,
    Caller.watch_job,
    Caller.cancel_job,
    Caller.download_artifact,
    Caller.delete_session,
]
ALL: list[Rpc] = [Caller.create_session, *OF_OTHERS, Caller.list_jobs]


@pytest_asyncio.fixture(loop_scope="session")
async def keyed(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway that asks for keys."""
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, auth="keys") as running,
    ):
        yield running


async def new_key(gateway: Gateway, account: str, credits_: int = 1000) -> str:
    if credits_:
        with gateway.store.database.writing() as connection:
            ledger.grant(connection, account, account, credits_)
    return accounts.create_key(gateway.store.database, account)


async def made(caller: Caller) -> tuple[str, str]:
    """A session and a job that succeeded."""
    session_id = (await caller.create_session("", "")).session.session_id
    job_id = (await caller.create_job(session_id, "")).job.job_id
    assert (await caller.watch_job("", job_id))[-1].job.status == studio_pb2.JOB_STATUS_SUCCEEDED
    return session_id, job_id


def test_every_call_is_tried() -> None:
    methods = {method.name for method in studio_pb2.DESCRIPTOR.services_by_name["StudioService"].methods}
    tried = {rpc.__name__.title().replace("_", "") for rpc in ALL}
    assert tried == methods


async def test_the_command_detect_brings_a_key(keyed: Gateway, tmp_path: Path) -> None:
    photo, out, console = encode_png(np.zeros((64, 64, 3), np.uint8)), tmp_path / "objects.png", Console(quiet=True)
    found = await detect(photo, 6, out, keyed.address, await new_key(keyed, "acme"), console)
    assert found.session.objects
    with pytest.raises(Unauthenticated):
        await detect(photo, 6, out, keyed.address, "", console)


async def test_without_a_good_key_nothing_is_told(keyed: Gateway) -> None:
    key = await new_key(keyed, "acme")
    ids = await made(Caller(keyed.stub, f"Bearer {key}"))
    revoked = await new_key(keyed, "acme", 0)
    accounts.revoke_key(keyed.store.database, revoked.split("_")[1])
    wrong = [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {key}",
        key,
        f"Bearer {key}x",
        f"Bearer {key[:-1]}{'a' if key[-1] != 'a' else 'b'}",
        f"Bearer lsk_{'0' * 16}_{'a' * 43}",
        f"Bearer {revoked}",
        "Bearer lsk_' OR 1=1 --_",
    ]
    errors = [
        await refused(rpc(Caller(keyed.stub, authorization), *ids), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        for authorization in wrong
        for rpc in ALL
    ]
    assert len({error.message for error in errors}) == 1, "why a key is no good is not told"
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await Caller(keyed.stub, f"{scheme} {key}").get_job(*ids)).job.job_id == ids[1]


async def test_what_is_anothers_is_not_there(keyed: Gateway) -> None:
    mine = Caller(keyed.stub, f"Bearer {await new_key(keyed, 'acme')}")
    theirs = Caller(keyed.stub, f"Bearer {await new_key(keyed, 'other')}")
    ids = await made(mine)
    nothing = ("00000000-0000-4000-8000-000000000000",) * 2
    for rpc in OF_OTHERS:
        told = await refused(rpc(theirs, *ids), grpc.StatusCode.NOT_FOUND)
        assert told.message == (await refused(rpc(theirs, *nothing), grpc.StatusCode.NOT_FOUND)).message
        assert told.reason in ("JOB_NOT_FOUND", "SESSION_NOT_FOUND")
    assert (await theirs.list_jobs("", "")).jobs == []
    assert [job.job_id for job in (await mine.list_jobs("", "")).jobs] == [ids[1]]
    assert (await mine.get_job(*ids)).job.status == studio_pb2.JOB_STATUS_SUCCEEDED
    keys = await asyncio.gather(*(new_key(keyed, "acme", 0) for _ in range(2)))
    for key in keys:
        assert (await Caller(keyed.stub, f"Bearer {key}").get_job(*ids)).job.job_id == ids[1], "keys of one account"


async def test_what_one_account_made_is_made_again_for_another(keyed: Gateway) -> None:
    for count, account in enumerate(("acme", "other"), start=1):
        await made(Caller(keyed.stub, f"Bearer {await new_key(keyed, account)}"))
        assert set(keyed.services.counts().values()) == {count}


async def test_who_has_no_credits_gets_nothing_and_pays_nothing(keyed: Gateway) -> None:
    poor = Caller(keyed.stub, f"Bearer {await new_key(keyed, 'poor', ledger.INIT_PRICE + ledger.JOB_PRICE - 1)}")
    session_id = (await poor.create_session("", "")).session.session_id
    lacking = (grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS")
    error = await refused(poor.create_job(session_id, ""), *lacking)
    assert error.message.startswith("75 credits needed, 74 available")
    assert (await poor.list_jobs("", "")).jobs == []
    assert keyed.services.counts() == {"DetectObjects": 1}
    with keyed.store.database.reading() as connection:
        assert ledger.balance(connection, "poor") == ledger.Balance(74, 0, 5, -79)
    none = Caller(keyed.stub, f"Bearer {await new_key(keyed, 'none', 0)}")
    await refused(none.create_session("", ""), *lacking)
    assert keyed.services.counts() == {"DetectObjects": 1}, "nothing is done before it can be paid"


async def test_an_upload_that_was_paid_can_be_asked_for_again_with_nothing_left(keyed: Gateway) -> None:
    metadata = (("authorization", f"Bearer {await new_key(keyed, 'last', ledger.INIT_PRICE)}"),)

    async def upload(key: str, photo: bytes = b"photo") -> str:
        options = studio_pb2.SessionOptions(idempotency_key=key)
        messages = [studio_pb2.CreateSessionRequest(options=options), studio_pb2.CreateSessionRequest(chunk=photo)]
        answer = await keyed.stub.CreateSession(messages, metadata=metadata, timeout=PATIENCE)
        return str(answer.session.session_id)

    made_first = await upload("once")
    assert await upload("once") == made_first
    await refused(upload("once", b"another"), grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED")
    await refused(upload("twice"), grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS")


async def test_the_command_line_brings_its_key(keyed: Gateway, tmp_path: Path) -> None:
    async with studio_at(keyed.address, await new_key(keyed, "acme")) as client:
        job = await (await client.init(b"photo")).transform(background="a table", camera="dolly")
        assert (await job.result()).status == "succeeded"
        await job.download("video", tmp_path / "film.mp4")
        await job.cancel()
    async with studio_at(keyed.address, "") as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.init(b"photo")
    with pytest.raises(LensoraError, match="plain ASCII"):
        studio_at(keyed.address, "kéy")
