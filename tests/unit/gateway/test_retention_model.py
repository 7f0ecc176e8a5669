"""Uploads, jobs, deaths, deletions and time in any order: what is needed is there, and what is not goes.

Every step of the gateway that touches blobs can be cut short here by a death between its parts.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event, select, update

from gateway import ledger
from gateway.blobs import open_store
from gateway.model import ArtifactKind, DetectedObject, Job, JobError, JobStatus, Session, Step, StoredBlob
from gateway.options import JobOptions, PictureBackground, TransparentBackground
from gateway.progress import Hub, Journal
from gateway.retention import SETTLING, Retention, SessionBusy
from gateway.settings import Settings
from gateway.store import Database, Store
from gateway.store.tables import blob_references, jobs, result_uses, sessions, stage_results
from lensora.core.blobs import sha256_hex
from lensora.core.errors import NotFound
from lensora.core.geometry import Box

SESSION, ARTIFACTS, RECORDS = timedelta(hours=24), timedelta(days=7), timedelta(days=30)
CACHE = 1_500
ACCOUNTS = ("alice", "bob")
TIMES = [blob_references.c.created_at, jobs.c.created_at, jobs.c.ended_at, result_uses.c.created_at]
TIMES += [sessions.c.created_at, sessions.c.expires_at, stage_results.c.created_at, stage_results.c.used_at]

contents = st.integers(0, 5).map(lambda number: f"content {number} ".encode() * 50)
accounts = st.sampled_from(ACCOUNTS)
deaths = st.sampled_from(("", "", "", "pinned", "written", "kept"))


class Died(Exception):
    """The gateway was killed here."""


@dataclass
class ModelSession:
    """What must hold of a session."""

    account: str
    photo: str
    expires: timedelta
    results: set[str] = field(default_factory=set)
    """Digests of the results that its work used."""


@dataclass
class ModelJob:
    """What must hold of a job."""

    account: str
    session_id: str
    picture: str | None
    made: set[str] = field(default_factory=set)
    ended: timedelta | None = None
    artifacts: set[str] = field(default_factory=set)


class Gateway(RuleBasedStateMachine):
    """The tables and a folder, and a model of what they must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        database = Database(f"sqlite:///{self.home / 'studio.db'}")
        event.listen(database._engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=OFF"))
        self.store = Store(database)
        self.blobs = open_store("", self.home / "blobs", 60.0)
        self.retention = Retention(Settings(home=self.home, cache_bytes=CACHE), self.store, self.blobs)
        self.hub = Hub(self.store, 1.0)
        self.now = timedelta()
        self.sessions: dict[str, ModelSession] = {}
        self.jobs: dict[str, ModelJob] = {}
        self.results: dict[tuple[str, str], set[str]] = {}
        """What each result that was kept refers to."""
        self.run(self.store.open())
        for account in ACCOUNTS:
            self.run(self.grant(account))

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def grant(self, account: str) -> None:
        with self.store.database.writing() as connection:
            ledger.grant(connection, account, uuid.uuid4().hex, 10**6)

    @initialize(data=contents, made=st.lists(contents, min_size=1, max_size=4))
    def begin(self, data: bytes, made: list[bytes]) -> None:
        """Never begin with nothing, where there is little to get wrong."""
        self.upload("alice", data, "")
        (session_id,) = self.sessions
        job_id = str(uuid.uuid4())
        self.run(self.add_job("alice", session_id, job_id, None))
        self.jobs[job_id] = ModelJob("alice", session_id, None)
        for each in made:
            self.jobs[job_id].made.add(self.run(self.stage("alice", session_id, each, "")))
        self.sessions[session_id].results |= self.jobs[job_id].made

    def teardown(self) -> None:
        self.store.database.close()
        self.runner.close()
        shutil.rmtree(self.home)

    async def stage(self, account: str, session_id: str, data: bytes, death: str) -> str:
        """A stage whose result is this one blob; its SHA-256. What it is made from is left out: the digest is its."""
        sha256, digest = sha256_hex(data), sha256_hex(b"made from " + data)
        kept = await self.store.stage_result(account, digest, session_id)
        if kept is not None:
            assert self.blobs.exists(account, sha256), "a kept result is whole"
            return sha256
        pin = uuid.uuid4().hex
        await self.store.pin(account, pin, [sha256])
        if death == "pinned":
            raise Died
        self.blobs.put(account, data)
        if death == "written":
            raise Died
        sizes = {sha256: len(data)}
        await self.store.keep_stage_result(account, digest, "toy@1", b"result", sizes, session_id, pin)
        return sha256

    @rule(account=accounts, data=contents, death=deaths)
    def upload(self, account: str, data: bytes, death: str) -> None:
        session_id = str(uuid.uuid4())
        try:
            photo = self.run(self.stage(account, session_id, data, death))
        except Died:
            return
        if death != "kept":
            self.run(self.add_session(session_id, account, photo))
            self.sessions[session_id] = ModelSession(account, photo, self.now + SESSION, {photo})

    async def add_session(self, session_id: str, account: str, photo: str) -> None:
        now = datetime.now(UTC)
        whole = DetectedObject(0, "all", "full_frame", Box(0.0, 0.0, 1.0, 1.0), 1.0)
        stored = StoredBlob(photo, 1, "image/png")
        session = Session(session_id, account, stored, 64, 64, (whole,), 1, now, now + SESSION)
        with self.store.database.writing() as connection:
            self.store.add_session(connection, session)

    def living(self) -> list[str]:
        return [key for key, session in self.sessions.items() if session.expires > self.now]

    @precondition(lambda self: self.living())
    @rule(choice=st.randoms(use_true_random=False), picture=st.none() | contents, death=deaths)
    def start(self, choice: Any, picture: bytes | None, death: str) -> None:
        session_id = choice.choice(self.living())
        account, job_id = self.sessions[session_id].account, str(uuid.uuid4())
        if picture is not None:
            self.run(self.store.pin(account, job_id, [sha256_hex(picture)]))
            if death == "pinned":
                return
            self.blobs.put(account, picture)
            if death == "written":
                return
        sha256 = None if picture is None else sha256_hex(picture)
        self.run(self.add_job(account, session_id, job_id, sha256))
        self.jobs[job_id] = ModelJob(account, session_id, sha256)

    async def add_job(self, account: str, session_id: str, job_id: str, picture: str | None) -> None:
        background = TransparentBackground() if picture is None else PictureBackground(sha256=picture, size=1)
        options = JobOptions(
            session_id=uuid.UUID(session_id), object_index=0, background=background, camera_preset="dolly"
        )
        job = Job(job_id, account, options, datetime.now(UTC), price=ledger.JOB_PRICE)
        with self.store.database.writing() as connection:
            self.store.add_job(connection, job)
            ledger.hold(connection, account, job_id)

    def open_jobs(self) -> list[str]:
        return [key for key, job in self.jobs.items() if job.ended is None]

    @precondition(lambda self: self.open_jobs())
    @rule(choice=st.randoms(use_true_random=False), made=st.lists(contents, min_size=1, max_size=4), death=deaths)
    def work(self, choice: Any, made: list[bytes], death: str) -> None:
        job = self.jobs[choice.choice(self.open_jobs())]
        for data in made:
            try:
                job.made.add(self.run(self.stage(job.account, job.session_id, data, death)))
            except Died:
                return
            self.sessions[job.session_id].results.add(sha256_hex(data))

    @precondition(lambda self: self.open_jobs())
    @rule(choice=st.randoms(use_true_random=False), succeeds=st.booleans())
    def end(self, choice: Any, succeeds: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        job_id = choice.choice(self.open_jobs())
        job = self.jobs[job_id]
        if succeeds:
            job.artifacts = set(sorted(job.made)[: len(ArtifactKind)])
        self.run(self.settle(job_id, sorted(job.artifacts), succeeds=succeeds))
        job.ended = self.now

    async def settle(self, job_id: str, artifacts: list[str], *, succeeds: bool) -> None:
        taken = await self.store.take(job_id)
        assert taken is not None
        journal = Journal(self.store, self.hub, *taken)
        if succeeds:
            stored = dict(zip(ArtifactKind, (StoredBlob(sha256, 1, "x/y") for sha256 in artifacts), strict=False))
            await journal.end(JobStatus.SUCCEEDED, artifacts=stored)
        else:
            await journal.end(JobStatus.FAILED, error=JobError(Step.CROPPING, "X", "x"))

    @precondition(lambda self: self.sessions)
    @rule(choice=st.randoms(use_true_random=False))
    def delete(self, choice: Any) -> None:
        session_id = choice.choice(list(self.sessions))  # ids are random, their order is not
        account = self.sessions[session_id].account
        busy = {key for key in self.open_jobs() if self.jobs[key].session_id == session_id}
        try:
            self.run(self.retention.forget(account, session_id))
        except SessionBusy as refused:
            assert set(refused.job_ids) == busy
            return
        except NotFound:
            assert self.sessions.pop(session_id).expires + RECORDS <= self.now, "its record had come of age"
            return
        assert not busy
        gone = self.sessions.pop(session_id)
        gone_jobs = [key for key, job in self.jobs.items() if job.session_id == session_id]
        mine = {gone.photo} | gone.results
        for key in gone_jobs:
            mine |= self.jobs[key].artifacts | {self.jobs[key].picture or ""}
            del self.jobs[key]
        rest = self.referred(account)
        for sha256 in mine - rest - {""}:
            assert not self.blobs.exists(account, sha256), "it goes at once"

    def referred(self, account: str) -> set[str]:
        async def look() -> set[str]:
            with self.store.database.reading() as connection:
                query = select(blob_references.c.sha256).where(blob_references.c.account_id == account)
                return {sha256 for (sha256,) in connection.execute(query)}

        found: set[str] = self.run(look())
        return found

    @rule(hours=st.sampled_from((0.1, 1, 20, 24 * 6, 24 * 31)))
    def wait(self, hours: float) -> None:
        """Time goes by: all that was noted is so much older."""
        passed = timedelta(hours=hours)
        self.now += passed
        self.run(self.age(passed))

    async def age(self, passed: timedelta) -> None:
        with self.store.database.writing() as connection:
            for column in TIMES:
                keys = list(column.table.primary_key)
                rows = connection.execute(select(column, *keys).where(column.is_not(None))).all()
                for when, *values in rows:
                    same = [key == value for key, value in zip(keys, values, strict=True)]
                    older = {column.name: when - passed}
                    connection.execute(update(column.table).where(*same).values(older))

    @rule(chores=st.lists(st.sampled_from(("expire", "bound", "sweep")), min_size=1, max_size=4))
    def chores(self, chores: list[str]) -> None:
        for chore in chores:
            match chore:
                case "expire":
                    self.run(self.retention.expire(datetime.now(UTC)))
                case "bound":
                    self.run(self.retention.bound_cache())
                case _:
                    self.run(self.retention.sweep())

    @invariant()
    def what_is_needed_is_there(self) -> None:
        for session_id, session in self.sessions.items():
            open_jobs = [self.jobs[key] for key in self.open_jobs() if self.jobs[key].session_id == session_id]
            if open_jobs or session.expires > self.now:
                assert self.blobs.exists(session.account, session.photo)
            for job in open_jobs:
                for sha256 in job.made | ({job.picture} if job.picture else set()):
                    assert self.blobs.exists(job.account, sha256)
        for job in self.jobs.values():
            if job.ended is not None and job.ended + ARTIFACTS > self.now:
                assert all(self.blobs.exists(job.account, sha256) for sha256 in job.artifacts)

    @rule()
    def in_the_end_nothing_is_left_that_nobody_needs(self) -> None:
        self.wait(SETTLING.total_seconds() / 3600 + 0.01)
        self.chores(["expire", "bound", "sweep"])
        needed: set[tuple[str, str]] = set()
        for account in ACCOUNTS:
            needed |= {(account, sha256) for sha256 in self.referred(account)}
        there = {(account, sha256) for account, some in self.blobs.listed() for sha256 in some}
        assert there == needed
        assert not any(self.blobs.folder.rglob(".staging/*/*")) if self.blobs.folder else True
        allowed: set[tuple[str, str]] = set()
        for session_id, session in self.sessions.items():
            working = any(self.jobs[key].session_id == session_id for key in self.open_jobs())
            if working or session.expires > self.now:
                allowed |= {(session.account, sha256) for sha256 in {session.photo} | session.results}
        for job in self.jobs.values():
            if job.ended is None or job.ended + ARTIFACTS > self.now:
                allowed |= {(job.account, sha256) for sha256 in job.artifacts | {job.picture or ""}}
        assert there <= allowed
        if not self.open_jobs():
            self.run(self.held_is_bounded())

    async def held_is_bounded(self) -> None:
        with self.store.database.reading() as connection:
            assert sum(row[0] for row in connection.execute(select(stage_results.c.size))) <= CACHE


Gateway.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    report_multiple_bugs=False,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestGateway = Gateway.TestCase
