"""What goes when its time has come, or when its owner says so; and what stays all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from sqlalchemy import func, select

from gateway.options import JobOptions, PictureBackground
from gateway.store.tables import (
    blob_references,
    deliveries,
    idempotency_keys,
    job_events,
    jobs,
    ledger_entries,
    result_uses,
    sessions,
    stage_results,
)
from lensora.core.blobs import sha256_hex
from lensora.core.errors import NotFound
from lensora.core.imaging import encode_png
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, collect, keys_of, refused, running_gateway, spec_of
from tests.contract.scripted import Services

VIDEO = studio_pb2.ARTIFACT_KIND_VIDEO
TABLES = (blob_references, deliveries, idempotency_keys, job_events, jobs, result_uses, sessions, stage_results)


def later(**time: float) -> datetime:
    return datetime.now(UTC) + timedelta(**time)


async def rows(gateway: Gateway) -> dict[str, int]:
    """How many rows the tables of what can be deleted have, where they have any."""
    with gateway.store.database.reading() as connection:
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES
        }
    return {name: count for name, count in counts.items() if count}


async def expired(gateway: Gateway, **time: float) -> list[str]:
    """The keys that are left when so much time has gone by."""
    await gateway.studio._retention.expire(later(**time))
    await gateway.studio._retention.sweep()
    return keys_of(gateway.blobs)


async def test_artifacts_outlive_their_session_and_then_go(fresh: Gateway) -> None:
    job = await fresh.make()
    keys = keys_of(fresh.blobs)
    assert await expired(fresh, hours=23) == keys, "nothing goes before its time"
    kept = {artifact.sha256 for artifact in job.artifacts}
    assert {key.split("/")[-1] for key in await expired(fresh, hours=25)} == kept
    assert sum(len(message.chunk) for message in await fresh.download(job.job_id, VIDEO)) > 0
    assert await expired(fresh, days=6.9) == await expired(fresh, days=6.9) != []
    assert await expired(fresh, days=7.1) == []
    assert (await fresh.get(job.job_id)).status == studio_pb2.JOB_STATUS_SUCCEEDED, "it can still be told"
    assert await expired(fresh, days=40) == []
    assert await rows(fresh) == {}
    await refused(fresh.get(job.job_id), grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    with fresh.store.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(ledger_entries)).scalar_one() == 8


async def test_expired_artifacts_and_sessions_are_called_so(tmp_path: Path, services: Services) -> None:
    async with running_gateway(tmp_path, services, artifact_days=1e-9) as gateway:
        job = await gateway.make()
        download = collect(
            gateway.stub.DownloadArtifact(studio_pb2.DownloadArtifactRequest(job_id=job.job_id, kind=VIDEO))
        )
        await refused(download, grpc.StatusCode.FAILED_PRECONDITION, "ARTIFACT_EXPIRED")
    async with running_gateway(tmp_path, services, session_hours=1e-9) as gateway:
        session = await gateway.upload(b"another")
        await expired(gateway, hours=1)
        await refused(
            gateway.create(spec_of(session.session_id)), grpc.StatusCode.FAILED_PRECONDITION, "SESSION_EXPIRED"
        )


async def test_an_open_job_keeps_all_it_needs_whatever_expires(fresh: Gateway) -> None:
    hold = fresh.services["Reconstruct"].held()
    job = await fresh.start(background=studio_pb2.Background(picture=_png()))
    await fresh.services["Reconstruct"].begun()
    await fresh.until(job.job_id, studio_pb2.STEP_COMPOSITING, studio_pb2.STEP_STATE_DONE)
    keys = keys_of(fresh.blobs)
    fresh.studio._settings = fresh.settings.model_copy(update={"cache_bytes": 0})
    fresh.studio._retention._settings = fresh.studio._settings
    await fresh.studio._retention.bound_cache()
    assert set(keys) - {key for key in keys if ".staging" in key} <= set(await expired(fresh, days=100))
    hold.set()
    assert (await fresh.finished(job.job_id)).status == studio_pb2.JOB_STATUS_SUCCEEDED
    assert fresh.services.counts()["Segment"] == 1
    await fresh.studio._retention.bound_cache()
    assert "stage_results" not in await rows(fresh), "once it has ended, the bound holds"
    session, done = await fresh.studio.session("local", job.spec.session_id), await fresh.get(job.job_id)
    kept = {session.photo.sha256, sha256_hex(_png()), *(artifact.sha256 for artifact in done.artifacts)}
    assert {key.split("/")[-1] for key in await expired(fresh, hours=1)} == kept


async def test_a_deleted_session_leaves_nothing_but_the_ledger(fresh: Gateway) -> None:
    balance, _ = await fresh.studio.credits("local")
    session = await fresh.upload()
    spec = spec_of(session.session_id, background=studio_pb2.Background(picture=_png()))
    request = studio_pb2.CreateJobRequest(spec=spec, idempotency_key="once")
    done = await fresh.finished((await fresh.stub.CreateJob(request)).job.job_id)
    fresh.services["Render"].held()
    running = await fresh.create(spec_of(session.session_id, object_index=1))
    call = await fresh.services["Render"].begun(2)
    queued = [await fresh.create(spec_of(session.session_id, object_index=2)) for _ in range(3)]
    await fresh.studio.delete_session("local", session.session_id)
    assert (await call.gone()).cancelled
    for job in (done, running, *queued):
        await refused(fresh.get(job.job_id), grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    with pytest.raises(NotFound) as gone:
        await fresh.studio.delete_session("local", session.session_id)
    assert gone.value.reason == "SESSION_NOT_FOUND"
    await fresh.settled(fresh.staged)
    assert [key for key in keys_of(fresh.blobs) if not key.startswith(".staging")] == []
    assert await rows(fresh) == {}
    now, entries = await fresh.studio.credits("local")
    assert (balance.available - now.available, now.held) == (5 + 75, 0), "one upload and one film were delivered"
    assert [entry.kind for entry in entries].count("release") == 4


async def test_what_another_session_needs_stays(fresh: Gateway) -> None:
    one, other = await fresh.upload(), await fresh.upload()
    first = await fresh.finished((await fresh.create(spec_of(one.session_id))).job_id)
    second = await fresh.finished((await fresh.create(spec_of(other.session_id))).job_id)
    third = await fresh.finished((await fresh.create(spec_of(one.session_id, object_index=1))).job_id)
    await fresh.studio.delete_session("local", one.session_id)
    left = {key.split("/")[-1] for key in keys_of(fresh.blobs)}
    shared, alone = ({artifact.sha256 for artifact in job.artifacts} for job in (second, third))
    assert shared == {artifact.sha256 for artifact in first.artifacts} and shared <= left
    assert not (alone - shared) & left
    counts = fresh.services.counts()
    again = await fresh.finished((await fresh.create(spec_of(other.session_id))).job_id)
    assert fresh.services.counts() == counts and all(record.reused for record in again.steps)


async def test_another_account_s_session_cannot_be_deleted(fresh: Gateway) -> None:
    session = await fresh.upload()
    with pytest.raises(NotFound):
        await fresh.studio.delete_session("them", session.session_id)
    assert (await fresh.studio.session("local", session.session_id)).session_id == session.session_id


async def test_a_job_cannot_slip_into_a_session_that_is_being_deleted(fresh: Gateway) -> None:
    session = await fresh.studio.session("local", (await fresh.upload()).session_id)
    await fresh.studio.delete_session("local", session.session_id)
    studio = fresh.studio

    async def as_it_was(account: str, session_id: str) -> object:
        assert (account, session_id) == ("local", session.session_id)
        return session

    studio.session = as_it_was  # type: ignore[method-assign, assignment]
    options = JobOptions(
        session_id=session.session_id,  # type: ignore[arg-type]
        object_index=0,
        background=PictureBackground(sha256=sha256_hex(_png()), size=len(_png())),
        camera_preset="dolly",
    )
    before, _ = await studio.credits("local")
    with pytest.raises(NotFound):
        await studio.create_job("local", options, _png())
    assert (await studio.credits("local"))[0] == before
    assert await expired(fresh, hours=1) == [], "its picture is not left behind"


async def test_the_least_recently_used_results_go_first(fresh: Gateway) -> None:
    fresh.services["Segment"].size = 100_000
    sessions_ = [await fresh.upload(f"photo {number}".encode()) for number in range(3)]
    for session in sessions_:
        await fresh.finished((await fresh.create(spec_of(session.session_id))).job_id)
    await fresh.finished((await fresh.create(spec_of(sessions_[0].session_id))).job_id)
    fresh.studio._retention._settings = fresh.settings.model_copy(update={"cache_bytes": 150_000})
    await fresh.studio._retention.bound_cache()
    before = fresh.services.counts()["Segment"]
    for number, ran in ((0, 0), (1, 1)):
        await fresh.finished((await fresh.create(spec_of(sessions_[number].session_id))).job_id)
        assert fresh.services.counts()["Segment"] - before == ran


async def test_a_lost_pin_goes_with_what_it_kept(fresh: Gateway) -> None:
    await fresh.store.pin("local", "a process that was killed", [sha256_hex(b"half done")])
    fresh.blobs.put("local", b"half done")
    fresh.blobs.put("local", b"never pinned")
    assert [key.split("/")[-1] for key in await expired(fresh)] == [sha256_hex(b"half done")]
    assert await expired(fresh, hours=1) == []


async def test_the_chore_runs_by_itself_in_one_replica(tmp_path: Path, services: Services) -> None:
    async with running_gateway(tmp_path, services, retention_seconds=0.05) as gateway:
        gateway.blobs.put("local", b"nobody's")
        await gateway.settled(lambda: keys_of(gateway.blobs))
    async with running_gateway(tmp_path, services) as gateway:  # none of its own within the test
        await gateway.store.renew_lease("a-replica-before-us", later(hours=1))
        gateway.blobs.put("local", b"nobody's")
        await gateway.studio._retention.run()
        assert len(keys_of(gateway.blobs)) == 1


def _png() -> bytes:
    return encode_png(np.zeros((64, 64, 3), np.uint8))
