"""CreateJob: every field of the spec, its rule, and how a broken rule is told."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio

from lensora.studio.v1 import studio_pb2
from lensora.type.v1 import geometry_pb2
from tests.contract.harness import Gateway, refused, spec_of
from tests.contract.scripted import JOB_METHODS, PATIENCE, Services

INVALID = grpc.StatusCode.INVALID_ARGUMENT
INT64 = 2**63 - 1
CONTROL = ["\n", "\t", "\x00", "\x7f", "\x85", "\x1b[31m"]


@pytest_asyncio.fixture(loop_scope="session")
async def session_id(gateway: Gateway) -> str:
    return (await gateway.upload()).session_id


def prompt(text: str) -> dict[str, Any]:
    return {"background": studio_pb2.Background(prompt=text)}


def film(width: int = 1280, height: int = 720, duration_s: float = 5.0) -> dict[str, Any]:
    return {"output": studio_pb2.OutputSpec(size=geometry_pb2.Size(width=width, height=height), duration_s=duration_s)}


BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("session_id", {"session_id": ""}, "UUID"),
    ("session_id", {"session_id": "../../etc/passwd"}, "UUID"),
    ("session_id", {"session_id": "0" * 31}, "UUID"),
    ("object_index", {"object_index": -1}, "greater than or equal to 0"),
    ("object_index", {"object_index": 3}, "0 to 2"),
    ("object_index", {"object_index": 2**31 - 1}, "0 to 2"),
    ("background", {"background": None}, "required"),
    ("background", {"background": studio_pb2.Background()}, "required"),
    ("background.prompt", prompt(""), "at least 1 character"),
    ("background.prompt", prompt("a" * 1001), "at most 1000 character"),
    ("background.prompt", prompt("   "), "must say something"),
    ("background.prompt", prompt("\u2003\u00a0"), "must say something"),
    *(("background.prompt", prompt(f"a {letter} b"), "control characters") for letter in CONTROL),
    ("camera_preset", {"camera_preset": 0}, "turntable, dolly, cinematic"),
    ("camera_preset", {"camera_preset": 99}, "turntable, dolly, cinematic"),
    ("on_slab", {"on_slab": 7}, "clamp, fail"),
    ("output.width", film(width=0), "256"),
    ("output.width", film(width=254), "256"),
    ("output.width", film(width=1922), "1920"),
    ("output.width", film(width=1281), "even"),
    ("output.width", film(width=-1280), "256"),
    ("output.height", film(height=254), "256"),
    ("output.height", film(height=1922), "1920"),
    ("output.height", film(height=721), "even"),
    *(("output.duration_s", film(duration_s=value), "equal to 1") for value in (0.5, 0.999, 12.1, -5.0, 1e300)),
    *(("output.duration_s", film(duration_s=float(value)), "finite") for value in ("nan", "inf", "-inf")),
]


@pytest.mark.parametrize(("field", "changes", "rule"), BROKEN)
async def test_a_broken_rule_names_the_field(
    gateway: Gateway, session_id: str, field: str, changes: dict[str, Any], rule: str
) -> None:
    error = await refused(gateway.create(spec_of(session_id, **changes)), INVALID)
    assert [violation.field for violation in error.violations] == [field]
    assert rule in error.violations[0].description
    assert error.message.startswith(field)


async def test_all_broken_rules_are_told_at_once(gateway: Gateway, session_id: str) -> None:
    spec = spec_of(session_id, object_index=-1, **prompt(" "), **film(255, 1921, 60.0))
    error = await refused(gateway.create(spec), INVALID)
    assert {violation.field for violation in error.violations} == {
        "object_index",
        "background.prompt",
        "output.width",
        "output.height",
        "output.duration_s",
    }


async def test_an_empty_request_is_refused(gateway: Gateway) -> None:
    await refused(gateway.stub.CreateJob(studio_pb2.CreateJobRequest(), timeout=PATIENCE), INVALID)


@pytest.mark.parametrize("url", ["http://example.com", "https://me:secret@example.com/", "https://0x7f.1/", "hook"])
async def test_a_webhook_is_an_https_link(gateway: Gateway, session_id: str, url: str) -> None:
    error = await refused(gateway.create(spec_of(session_id, webhook_url=url)), INVALID)
    assert [violation.field for violation in error.violations] == ["webhook_url"]


async def test_an_unknown_session_is_not_found(gateway: Gateway) -> None:
    spec = spec_of(str(uuid.uuid4()))
    error = await refused(gateway.create(spec), grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND")
    assert error.message.startswith("session_id")


async def test_another_accounts_session_is_not_found(gateway: Gateway, session_id: str) -> None:
    mine = await gateway.store.session("local", session_id)
    assert mine is not None
    theirs = replace(mine, session_id=str(uuid.uuid4()), account_id="somebody-else")
    await gateway.add_session(theirs)
    await refused(gateway.create(spec_of(theirs.session_id)), grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND")


async def test_an_expired_session_is_told_apart(gateway: Gateway, session_id: str) -> None:
    fresh = await gateway.store.session("local", session_id)
    assert fresh is not None
    old = replace(fresh, session_id=str(uuid.uuid4()), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await gateway.add_session(old)
    error = await refused(
        gateway.create(spec_of(old.session_id)), grpc.StatusCode.FAILED_PRECONDITION, "SESSION_EXPIRED"
    )
    assert error.message.startswith("session_id")


async def test_what_was_refused_left_no_job(gateway: Gateway, session_id: str) -> None:
    before = await gateway.stub.ListJobs(studio_pb2.ListJobsRequest(page_size=100), timeout=PATIENCE)
    await refused(gateway.create(spec_of(session_id, object_index=3)), INVALID)
    after = await gateway.stub.ListJobs(studio_pb2.ListJobsRequest(page_size=100), timeout=PATIENCE)
    assert before == after


@pytest.mark.parametrize(
    "changes",
    [
        *({"seed": seed} for seed in (INT64, -INT64 - 1, 0, -1)),
        *(film(side, side) for side in (256, 1920)),
        *(film(duration_s=seconds) for seconds in (1.0, 12.0, 0.0)),
        prompt("a" * 1000),
        prompt("Küche 厨房 👩‍🍳 a\u0308"),
        {"object_index": 2},
        {"on_slab": studio_pb2.ON_SLAB_FAIL},
        {"output": studio_pb2.OutputSpec()},
    ],
)
async def test_what_lies_on_the_border_is_taken_and_told_back(
    gateway: Gateway, services: Services, session_id: str, changes: dict[str, Any]
) -> None:
    for name in JOB_METHODS:
        services[name].held()
    spec = spec_of(session_id, **changes)
    job = await gateway.create(spec)
    assert job.status == studio_pb2.JOB_STATUS_QUEUED, "though no stage answers: CreateJob does not wait for the work"
    told = job.spec
    assert told == (await gateway.get(job.job_id)).spec
    assert (told.session_id, told.object_index, told.seed) == (session_id, spec.object_index, spec.seed)
    assert told.background == spec.background
    assert told.on_slab == (spec.on_slab or studio_pb2.ON_SLAB_CLAMP)
    assert told.output.duration_s == (spec.output.duration_s or 5.0)
    assert told.output.size == (
        spec.output.size if spec.output.HasField("size") else geometry_pb2.Size(width=1280, height=720)
    )
    ended = await gateway.cancel(job.job_id)
    assert ended.status == studio_pb2.JOB_STATUS_CANCELLED


async def test_a_session_id_may_be_written_in_any_way_that_uuids_are(
    gateway: Gateway, services: Services, session_id: str
) -> None:
    services["Segment"].held()
    job = await gateway.create(spec_of(session_id.upper()))
    assert job.spec.session_id == session_id
    await gateway.cancel(job.job_id)
