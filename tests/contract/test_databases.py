"""What a job's life asks of the database, on SQLite and on Postgres: one at a time, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from gateway import ledger
from gateway.ledger import INIT_PRICE, JOB_PRICE
from gateway.store.tables import jobs, sessions
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, refused, running_gateway, running_services, spec_of
from tests.contract.scripted import PATIENCE
from tests.unit.gateway.books import audit

CANCELLED, SUCCEEDED = studio_pb2.JOB_STATUS_CANCELLED, studio_pb2.JOB_STATUS_SUCCEEDED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
REUSED = (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED")


@pytest_asyncio.fixture(loop_scope="session")
async def either(tmp_path: Path, database_url: str) -> AsyncIterator[Gateway]:
    """A gateway of its own, on one kind of database and then on the other."""
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, database_url=database_url, open_jobs_per_account=1000) as running,
    ):
        yield running
        await running.cancel_all()
        await audit(running.store.database)


async def spent(gateway: Gateway) -> tuple[int, int]:
    """What was taken from the account for good, and what is held."""
    with gateway.store.database.reading() as connection:
        balance = ledger.balance(connection, "local")
    return balance.earned, balance.held


async def test_jobs_are_made_reused_cancelled_and_listed(either: Gateway) -> None:
    made = await either.make()
    again = await either.make(camera_preset=1)
    assert [record.reused for record in again.steps] == [True, True, True, True, True, False]
    either.services["Render"].held()
    job = await either.start(seed=7)
    await either.services["Render"].begun(3)
    assert await spent(either) == (3 * INIT_PRICE + 2 * JOB_PRICE, JOB_PRICE)
    assert (await either.cancel(job.job_id)).status == CANCELLED
    assert (await either.services["Render"].calls[-1].gone()).cancelled
    assert await spent(either) == (3 * INIT_PRICE + 2 * JOB_PRICE, 0)
    page = await either.stub.ListJobs(studio_pb2.ListJobsRequest(page_size=2), timeout=PATIENCE)
    assert [item.job_id for item in page.jobs] == [job.job_id, again.job_id]
    rest = studio_pb2.ListJobsRequest(page_size=2, page_token=page.next_page_token)
    assert [item.job_id for item in (await either.stub.ListJobs(rest, timeout=PATIENCE)).jobs] == [made.job_id]


async def test_twenty_equal_calls_with_one_key_make_one_job(either: Gateway) -> None:
    either.services["Segment"].held()
    spec = spec_of((await either.upload()).session_id)
    request = studio_pb2.CreateJobRequest(spec=spec, idempotency_key="order 7")
    answers = await asyncio.gather(*(either.stub.CreateJob(request, timeout=PATIENCE) for _ in range(20)))
    assert len({answer.job.job_id for answer in answers}) == 1
    assert await spent(either) == (INIT_PRICE, JOB_PRICE)
    with either.store.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar_one() == 1
    spec.seed = 1
    request = studio_pb2.CreateJobRequest(spec=spec, idempotency_key="order 7")
    await refused(either.stub.CreateJob(request, timeout=PATIENCE), *REUSED)
    ended = await either.cancel(answers[0].job.job_id)
    spec.seed = 0
    request = studio_pb2.CreateJobRequest(spec=spec, idempotency_key="order 7")
    assert (await either.stub.CreateJob(request, timeout=PATIENCE)).job == ended, "as it is by now"
    assert await spent(either) == (INIT_PRICE, 0)


async def test_equal_uploads_with_one_key_make_one_session(either: Gateway) -> None:
    async def upload(photo: bytes, key: str) -> str:
        options = studio_pb2.SessionOptions(idempotency_key=key)
        messages = [
            studio_pb2.CreateSessionRequest(options=options),
            studio_pb2.CreateSessionRequest(chunk=photo),
        ]
        return str((await either.stub.CreateSession(messages, timeout=PATIENCE)).session.session_id)

    made = await asyncio.gather(*(upload(b"photo", "upload 7") for _ in range(10)))
    assert len(set(made)) == 1
    assert await spent(either) == (INIT_PRICE, 0)
    with either.store.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(sessions)).scalar_one() == 1
    await refused(upload(b"another photo", "upload 7"), *REUSED)
    assert await upload(b"photo", "upload 8") != made[0]
    assert await spent(either) == (2 * INIT_PRICE, 0)


async def test_many_jobs_at_once_all_end_and_all_are_paid_once(either: Gateway) -> None:
    session = await either.upload()
    started = await asyncio.gather(*(either.create(spec_of(session.session_id, seed=seed)) for seed in range(24)))
    cancelled = await asyncio.gather(*(either.cancel(job.job_id) for job in started[::3]))
    ended = await asyncio.gather(*(either.finished(job.job_id) for job in started))
    succeeded = [job for job in ended if job.status == SUCCEEDED]
    assert len(succeeded) >= len(started) - len(cancelled)
    assert len(succeeded) + sum(job.status == CANCELLED for job in ended) == len(started)
    assert await spent(either) == (INIT_PRICE + JOB_PRICE * len(succeeded), 0)


@pytest.mark.parametrize("unknown", ["\x00", "x", "é" * 10_000, "00000000-0000-4000-8000-000000000000"])
async def test_ids_that_no_database_knows(either: Gateway, unknown: str) -> None:
    job, session = studio_pb2.GetJobRequest(job_id=unknown), studio_pb2.DeleteSessionRequest(session_id=unknown)
    await refused(either.stub.GetJob(job), grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    await refused(either.stub.DeleteSession(session), grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND")
    await refused(either.create(spec_of(unknown)), grpc.StatusCode.NOT_FOUND if "-" in unknown else INVALID)
