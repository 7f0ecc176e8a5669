"""What goes into the tables comes out of them, whole, and only where it belongs."""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest

from gateway.model import (
    WORK_STEPS,
    ArtifactKind,
    CameraReport,
    DetectedObject,
    Job,
    JobError,
    JobEvent,
    JobStatus,
    MeshReport,
    Session,
    Step,
    StepRecord,
    StepState,
    StoredBlob,
)
from gateway.options import JobOptions, Output, PromptBackground, TransparentBackground
from gateway.store import GONE, Call, Database, Store
from lensora.core.errors import AlreadyExists
from lensora.core.geometry import FULL_FRAME, Box

WHEN = datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)
BLOB = StoredBlob("0f" * 32, 2**40, "image/png")

FULL = Job(
    job_id="a-job",
    account_id="local",
    options=JobOptions(
        session_id=UUID(int=2**127),
        object_index=7,
        background=PromptBackground(prompt='Küche "厨房" \\ 👩‍🍳 \u2028 a\u0308'),
        camera_preset="cinematic",
        seed=-(2**63),
        on_slab="fail",
        output=Output(width=256, height=1920, duration_s=1.1),
    ),
    created_at=WHEN,
    status=JobStatus.RUNNING,
    steps=tuple(
        StepRecord(step, state, 1 / 3, WHEN, WHEN + timedelta(microseconds=1), reused=True, fingerprint="a/b@1")
        for step, state in zip(WORK_STEPS, [*StepState, StepState.DONE], strict=True)
    ),
    artifacts={kind: replace(BLOB, sha256=f"{number:064x}") for number, kind in enumerate(ArtifactKind)},
    mesh=MeshReport(
        0.1 + 0.2,
        "slab",
        watertight=False,
        triangles=2**31 - 1,
        method="lathe",
        engine="e",
        front_yaw_degrees=-179.99999999999997,
    ),
    camera=CameraReport("dolly", 1e-300, clamped=True),
    crop=Box(0.1, 0.2, 0.30000000000000004, 1.0),
    scene_note="a note",
    error=JobError(Step.COMPOSITING, "NO_SUBJECT", "it's a sentence; really"),
    started_at=WHEN,
    ended_at=WHEN + timedelta(days=1),
)
PLAIN = Job(
    "b-job",
    "local",
    JobOptions(session_id=UUID(int=1), object_index=0, background=TransparentBackground(), camera_preset="turntable"),
    WHEN,
)


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


async def add(store: Store, *values: Job | Session) -> None:
    """Store jobs and sessions."""
    with store.database.writing() as connection:
        for value in values:
            if isinstance(value, Job):
                store.add_job(connection, value)
            else:
                store.add_session(connection, value)


async def keep(store: Store, account: str, result: bytes) -> None:
    """Keep a stage's result that refers to one blob."""
    await store.keep_stage_result(account, "d" * 64, "f", result, {BLOB.sha256: BLOB.size}, "session", "a pin")


def event(seq: int, status: JobStatus = JobStatus.RUNNING) -> JobEvent:
    return JobEvent(seq, WHEN, Step.GENERATING_3D, StepState.RUNNING, 1 / 3, status, 0.1 + 0.2)


@pytest.mark.parametrize("job", [FULL, PLAIN])
async def test_every_field_of_a_job_comes_back(store: Store, job: Job) -> None:
    await add(store, job)
    assert await store.job("local", job.job_id) == job
    assert await store.list_jobs("local", 10, None) == [(1, job)]
    assert [run.job_id for run in await store.open_runs()] == [job.job_id]
    changed = replace(job, scene_note="another", status=JobStatus.SUCCEEDED)
    assert await store.record(changed, event(1, JobStatus.SUCCEEDED), 0)
    assert await store.job("local", job.job_id) == changed
    assert await store.open_runs() == []
    assert list(await store.events("local", job.job_id, 0)) == [event(1, JobStatus.SUCCEEDED)]


async def test_every_field_of_a_session_comes_back(store: Store) -> None:
    objects = (
        DetectedObject(0, "Küche", "food", Box(0.1, 0.2, 0.9, 1.0), 1 / 3),
        DetectedObject(1, "all", "full_frame", FULL_FRAME, 1.0),
    )
    session = Session(str(uuid4()), "local", BLOB, 4096, 1, objects, 412, WHEN, WHEN + timedelta(hours=24))
    await add(store, session)
    assert await store.session("local", session.session_id) == session
    assert await store.session("other", session.session_id) is None
    assert await store.session("local", "nothing") is None


async def test_times_of_any_zone_come_back_as_the_same_instant(store: Store) -> None:
    job = replace(PLAIN, created_at=WHEN.astimezone(timezone(timedelta(hours=5, minutes=30))))
    await add(store, job)
    kept = await store.job("local", job.job_id)
    assert kept is not None
    assert kept.created_at == WHEN


async def test_accounts_see_their_own_only(store: Store) -> None:
    theirs = replace(PLAIN, job_id="theirs", account_id="other")
    await add(store, PLAIN)
    await add(store, theirs)
    assert await store.job("local", "theirs") is None
    assert [job for _, job in await store.list_jobs("other", 10, None)] == [theirs]
    await store.record(theirs, replace(event(1), status=JobStatus.RUNNING), 0)
    assert list(await store.events("local", "theirs", 0)) == []
    await keep(store, "other", b"result")
    assert await store.stage_result("local", "d" * 64, "session") is None
    assert await store.stage_result("other", "d" * 64, "session") == b"result"


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED])
async def test_a_job_ends_once(store: Store, status: JobStatus) -> None:
    await add(store, PLAIN)
    assert await store.record(replace(PLAIN, status=status), event(1, status), 0)
    for other in JobStatus:
        assert not await store.record(replace(PLAIN, status=other), event(2, other), 0)
    kept = await store.job("local", PLAIN.job_id)
    assert kept is not None
    assert kept.status is status
    assert await store.last_seqs([PLAIN.job_id]) == {PLAIN.job_id: 1}


async def test_a_job_that_nobody_added_is_not_recorded(store: Store) -> None:
    assert not await store.record(PLAIN, event(1), 0)
    assert await store.last_seqs([PLAIN.job_id]) == {}


async def test_numbers_are_given_once_even_at_the_same_time(store: Store) -> None:
    await asyncio.gather(*(add(store, replace(PLAIN, job_id=f"job-{number}")) for number in range(20)))
    numbers = [number for number, _ in await store.list_jobs("local", 100, None)]
    assert numbers == list(range(20, 0, -1))


async def test_a_result_is_kept_in_place_of_the_one_before(store: Store) -> None:
    await asyncio.gather(*(keep(store, "local", bytes([n])) for n in range(8)))
    await keep(store, "local", b"\x00last")
    assert await store.stage_result("local", "d" * 64, "session") == b"\x00last"


async def test_events_come_in_order_from_any_number(store: Store) -> None:
    await add(store, PLAIN)
    for seq in range(1, 12):
        await store.record(replace(PLAIN, status=JobStatus.RUNNING), event(seq), 0)
    for after in range(13):
        assert [item.seq for item in await store.events("local", PLAIN.job_id, after)] == list(range(after + 1, 12))


async def test_only_who_took_the_job_last_writes_its_story(store: Store) -> None:
    await add(store, PLAIN)
    first = await store.take(PLAIN.job_id, PLAIN.job_id)
    assert first == (PLAIN, 0, 1)
    assert await store.record(PLAIN, event(1), 1)
    second = await store.take(PLAIN.job_id)
    assert second == (PLAIN, 1, 2)
    assert not await store.record(PLAIN, event(2), 1)
    assert await store.record(replace(PLAIN, status=JobStatus.FAILED), event(2, JobStatus.FAILED), 2)
    assert await store.take(PLAIN.job_id) is None, "it has ended"


async def test_only_the_workflow_that_a_job_names_may_take_it(store: Store) -> None:
    await add(store, PLAIN)
    (run,) = await store.open_runs()
    with store.database.writing() as connection:
        assert store.replace_run(connection, run, "second")
        assert not store.replace_run(connection, run, "third"), "somebody was faster"
    assert await store.take(PLAIN.job_id, PLAIN.job_id) is None
    assert await store.take(PLAIN.job_id, "second") == (PLAIN, 0, 2)
    assert (await store.open_runs())[0].runs == 2


async def test_what_belongs_to_an_event_is_stored_with_it_or_not_at_all(store: Store) -> None:
    await add(store, PLAIN)

    def broken(_: object) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await store.record(replace(PLAIN, status=JobStatus.FAILED), event(1, JobStatus.FAILED), 0, broken)
    assert await store.last_seqs([PLAIN.job_id]) == {}
    assert await store.job("local", PLAIN.job_id) == PLAIN


async def test_a_lease_runs_out(store: Store) -> None:
    now = datetime.now(UTC)
    await store.renew_lease("a", now + timedelta(hours=1))
    await store.renew_lease("b", now - timedelta(seconds=1))
    assert await store.living() == {"a"}
    await store.renew_lease("b", now + timedelta(hours=1))
    await store.end_lease("a")
    assert await store.living() == {"b"}


async def test_a_key_is_bound_once(store: Store) -> None:
    def claim(resource: str) -> str | None:
        with store.database.writing() as connection:
            return store.claim_key(connection, "local", "init", "key", "a" * 64, resource)

    def made(account: str, call: Call, body: str) -> str | None:
        with store.database.reading() as connection:
            return store.made_before(connection, account, call, "key", body * 64)

    run = store.database.run
    claimed = await asyncio.gather(*(run(claim, f"session-{number}") for number in range(8)))
    first = f"session-{claimed.index(None)}"
    assert sorted(claimed, key=str) == [None, *[first] * 7]
    assert made("local", "init", "a") == first
    with pytest.raises(AlreadyExists):
        made("local", "init", "b")
    assert made("local", "transform", "a") is None
    assert made("other", "init", "a") is None


async def test_what_was_begun_is_finished_before_a_cancel_goes_on(store: Store) -> None:
    begun, go_on = threading.Event(), threading.Event()
    done = []

    def write() -> None:
        with store.database.writing():
            begun.set()
            go_on.wait(10)
            done.append(True)

    task = asyncio.create_task(store.database.run(write))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done(), "its rest would meet what is done after it"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done


def test_a_database_that_takes_a_connection_and_says_nothing_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/y?connect_timeout=2")
        with pytest.raises(GONE), database.reading():
            raise AssertionError("there is nobody to read from")
        database.close()
