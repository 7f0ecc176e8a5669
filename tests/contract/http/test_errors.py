"""The table of errors of the public contract, over both edges side by side."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio

from gateway import accounts, ledger
from lensora.core.errors import InvalidArgument, LensoraError, Unavailable
from lensora.studio.v1 import studio_pb2
from tests.contract.harness import Gateway, collect, refused, running_gateway, running_services, spec_of
from tests.contract.http import caller as http
from tests.contract.http.caller import Caller, calling, good
from tests.contract.scripted import PATIENCE

RATE, BURST = 0.001, 60


@dataclass(slots=True)
class World:
    """A gateway that asks for keys, with a rich account, a poor one, and another's things."""

    gateway: Gateway
    rich: Caller
    poor: Caller
    nobody: Caller
    keys: dict[str, str]
    session_id: str
    """The rich account's."""
    job_id: str
    """The other account's, which succeeded."""
    others_session_id: str

    async def both(self, case: str) -> tuple[httpx.Response, LensoraError]:
        """What either edge answers in this case."""
        over_http, over_grpc, code = CASES[case]
        response = await over_http(self)
        return response, await refused(over_grpc(self), code)

    def grpc(self, method: str, request: Any, key: str | None = "rich") -> Awaitable[Any]:
        """A call over gRPC with somebody's key."""
        metadata = (("authorization", f"Bearer {self.keys[key]}"),) if key else ()
        call: Awaitable[Any] = getattr(self.gateway.stub, method)(request, timeout=PATIENCE, metadata=metadata)
        return call

    def upload(self, photo: bytes = b"photo", key: str = "rich", idempotency_key: str = "") -> Awaitable[Any]:
        """An upload over gRPC."""
        options = studio_pb2.SessionOptions(idempotency_key=idempotency_key)
        request = studio_pb2.CreateSessionRequest
        chunks = [photo[start : start + 2**20] for start in range(0, len(photo), 2**20)]
        return self.grpc("CreateSession", [request(options=options), *(request(chunk=part) for part in chunks)], key)

    def create(self, session_id: str, key: str = "rich", idempotency_key: str = "", **changes: Any) -> Awaitable[Any]:
        """A job over gRPC."""
        spec = spec_of(session_id, **changes)
        return self.grpc("CreateJob", studio_pb2.CreateJobRequest(spec=spec, idempotency_key=idempotency_key), key)

    async def detecting(self, call: Callable[[], Awaitable[Any]], error: LensoraError) -> Any:
        """A call while the detector refuses every photo."""
        self.gateway.services["DetectObjects"].error = error
        try:
            return await call()
        finally:
            self.gateway.services["DetectObjects"].error = None


Answer = Awaitable[httpx.Response]
Case = tuple[Callable[[World], Answer], Callable[[World], Awaitable[Any]], grpc.StatusCode]

WRONG_TYPE = InvalidArgument.of("image", "the file looks like a GIF", reason="IMAGE_WRONG_TYPE")
UNDECODABLE = InvalidArgument.of("image", "the file is damaged", reason="IMAGE_UNDECODABLE")
BOMB = InvalidArgument.of("image", "900 million pixels", reason="IMAGE_TOO_MANY_PIXELS")
DOWN = Unavailable("the detect service went away", reason="STAGE_UNAVAILABLE")
C = grpc.StatusCode


def _photo(error: LensoraError, code: grpc.StatusCode) -> Case:
    return (
        lambda w: w.detecting(lambda: w.rich.init(b"photo"), error),
        lambda w: w.detecting(w.upload, error),
        code,
    )


def _others(path: str, method: str, request: Callable[[World], Any], verb: str = "GET") -> Case:
    return (
        lambda w: w.rich.client.request(verb, path.format(job_id=w.job_id)),
        lambda w: w.grpc(method, request(w)),
        C.NOT_FOUND,
    )


async def _twice(call: Callable[[int], Awaitable[Any]]) -> Any:
    await call(1)
    return await call(2)


CASES: dict[str, Case] = {
    "no key": (
        lambda w: w.nobody.client.get("/v1/credits"),
        lambda w: w.grpc("ListJobs", studio_pb2.ListJobsRequest(), None),
        C.UNAUTHENTICATED,
    ),
    "unknown key": (
        lambda w: w.nobody.init(headers={"Authorization": f"Bearer {w.keys['unknown']}"}),
        lambda w: w.upload(key="unknown"),
        C.UNAUTHENTICATED,
    ),
    "revoked key": (
        lambda w: w.nobody.init(headers={"Authorization": f"Bearer {w.keys['revoked']}"}),
        lambda w: w.upload(key="revoked"),
        C.UNAUTHENTICATED,
    ),
    "no credits for init": (lambda w: w.poor.init(), lambda w: w.upload(key="broke"), C.FAILED_PRECONDITION),
    "no credits for transform": (
        lambda w: w.poor.transform(w.others_session_id),
        lambda w: w.create(w.others_session_id, "poor"),
        C.FAILED_PRECONDITION,
    ),
    "another's session": (
        lambda w: w.rich.transform(w.others_session_id),
        lambda w: w.create(w.others_session_id),
        C.NOT_FOUND,
    ),
    "another's job": _others(
        "/v1/studio/result/{job_id}", "GetJob", lambda w: studio_pb2.GetJobRequest(job_id=w.job_id)
    ),
    "another's job to cancel": _others(
        "/v1/studio/jobs/{job_id}/cancel",
        "CancelJob",
        lambda w: studio_pb2.CancelJobRequest(job_id=w.job_id),
        "POST",
    ),
    "another's events": (
        lambda w: w.rich.client.get(f"/v1/studio/jobs/{w.job_id}/events"),
        lambda w: collect(w.grpc("WatchJob", studio_pb2.WatchJobRequest(job_id=w.job_id))),
        C.NOT_FOUND,
    ),
    "another's artifact": (
        lambda w: w.rich.client.get(f"/v1/studio/artifacts/poor/{w.job_id}/film.mp4"),
        lambda w: collect(
            w.grpc(
                "DownloadArtifact",
                studio_pb2.DownloadArtifactRequest(job_id=w.job_id, kind=studio_pb2.ARTIFACT_KIND_VIDEO),
            )
        ),
        C.NOT_FOUND,
    ),
    "no such job": (
        lambda w: w.rich.client.get("/v1/studio/result/%00'--"),
        lambda w: w.grpc("GetJob", studio_pb2.GetJobRequest(job_id="\x00'--")),
        C.NOT_FOUND,
    ),
    "session expired": (
        lambda w: _on_old_session(w, w.rich.transform),
        lambda w: _on_old_session(w, w.create),
        C.FAILED_PRECONDITION,
    ),
    "bad field": (
        lambda w: w.rich.transform(w.session_id, object_index=99),
        lambda w: w.create(w.session_id, object_index=99),
        C.INVALID_ARGUMENT,
    ),
    "too large": (
        lambda w: w.rich.init(bytes(20_000_001)),
        lambda w: w.upload(bytes(20_000_001)),
        C.INVALID_ARGUMENT,
    ),
    "wrong type": _photo(WRONG_TYPE, C.INVALID_ARGUMENT),
    "undecodable": _photo(UNDECODABLE, C.INVALID_ARGUMENT),
    "bomb": _photo(BOMB, C.INVALID_ARGUMENT),
    "detector down": _photo(DOWN, C.UNAVAILABLE),
    "same key, other photo": (
        lambda w: _twice(lambda n: w.rich.init(b"%d" % n, headers={"Idempotency-Key": "http"})),
        lambda w: _twice(lambda n: w.upload(b"%d" % n, idempotency_key="grpc")),
        C.ALREADY_EXISTS,
    ),
    "same key, other job": (
        lambda w: _twice(lambda n: w.rich.transform(w.session_id, {"Idempotency-Key": "http"}, seed=n)),
        lambda w: _twice(lambda n: w.create(w.session_id, idempotency_key="grpc", seed=n)),
        C.ALREADY_EXISTS,
    ),
    "rate limit": (
        lambda w: _in_a_hurry(lambda: w.poor.client.get("/v1/credits", headers=_bearer(w.keys["hasty"]))),
        lambda w: w.grpc("ListJobs", studio_pb2.ListJobsRequest(), "hasty"),
        C.RESOURCE_EXHAUSTED,
    ),
}

TABLE: list[tuple[str, int, str, str | None]] = [
    ("no key", 401, "UNAUTHENTICATED", None),
    ("unknown key", 401, "UNAUTHENTICATED", None),
    ("revoked key", 401, "UNAUTHENTICATED", None),
    ("no credits for init", 402, "INSUFFICIENT_CREDITS", None),
    ("no credits for transform", 402, "INSUFFICIENT_CREDITS", None),
    ("another's session", 404, "SESSION_NOT_FOUND", None),
    ("another's job", 404, "JOB_NOT_FOUND", None),
    ("another's job to cancel", 404, "JOB_NOT_FOUND", None),
    ("another's events", 404, "JOB_NOT_FOUND", None),
    ("no such job", 404, "JOB_NOT_FOUND", None),
    ("session expired", 410, "SESSION_EXPIRED", None),
    ("bad field", 422, "INVALID_ARGUMENT", "object_index"),
    ("too large", 413, "IMAGE_TOO_LARGE", "image"),
    ("wrong type", 415, "IMAGE_WRONG_TYPE", "image"),
    ("undecodable", 422, "IMAGE_UNDECODABLE", "image"),
    ("bomb", 422, "IMAGE_TOO_MANY_PIXELS", "image"),
    ("detector down", 503, "STAGE_UNAVAILABLE", None),
    ("same key, other photo", 409, "IDEMPOTENCY_KEY_REUSED", None),
    ("same key, other job", 409, "IDEMPOTENCY_KEY_REUSED", None),
    ("rate limit", 429, "RATE_LIMITED", None),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    home: Path = tmp_path_factory.mktemp("table")
    limits: dict[str, Any] = {"auth": "keys", "rate_per_second": RATE, "rate_burst": BURST, "stage_attempts": 1}
    async with running_services(home) as services, running_gateway(home, services, **limits) as gateway:
        database = gateway.store.database
        keys = {name: accounts.create_key(database, name) for name in ("rich", "poor", "broke", "hasty", "gone")}
        keys |= {"unknown": keys["rich"][:-1] + ("x" if keys["rich"][-1] != "x" else "y"), "revoked": keys["gone"]}
        accounts.revoke_key(database, keys["gone"].split("_")[1])
        with database.writing() as connection:
            ledger.grant(connection, "rich", "for rich", 100_000)
            ledger.grant(connection, "poor", "for poor", 80)
        async with (
            calling(gateway, keys["rich"]) as rich,
            calling(gateway, keys["poor"]) as poor,
            calling(gateway) as nobody,
        ):
            job = await poor.make()
            yield World(gateway, rich, poor, nobody, keys, await rich.session(), job["job_id"], job["session_id"])


@pytest.mark.parametrize(("case", "status", "code", "field"), TABLE, ids=[row[0] for row in TABLE])
async def test_one_table_serves_both(world: World, case: str, status: int, code: str, field: str | None) -> None:
    before = await _available(world)
    response, error = await world.both(case)
    problem = http.refused(response, status, code, field)
    assert error.reason == code
    assert error.message == problem["detail"]
    assert [(item.field, item.description) for item in error.violations] == [
        (item["field"], item["rule"]) for item in problem["errors"]
    ]
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
    if status == 429:
        assert error.retry_after_s is not None
        assert int(response.headers["retry-after"]) >= 1
        assert response.headers["x-ratelimit-remaining"] == "0"
        assert int(response.headers["x-ratelimit-reset"]) >= BURST / RATE - 10
    if not case.startswith("same key"):
        assert await _available(world) == before, "nothing was charged"


async def test_every_case_is_in_the_table() -> None:
    assert {row[0] for row in TABLE} | {"another's artifact"} == set(CASES)


async def test_anothers_artifact_is_not_found_by_guessing(world: World) -> None:
    response, error = await world.both("another's artifact")
    http.refused(response, 404, "LINK_UNKNOWN")
    assert error.reason == "JOB_NOT_FOUND"
    theirs = (await world.poor.result(world.job_id))["outputs"]["video_url"]
    mine = world.gateway.signer.artifact_urls
    job = await world.gateway.studio.job("poor", world.job_id)
    stolen = next(iter(mine(replace(job, account_id="rich"), world.gateway.http).values()))
    assert (await world.nobody.client.get(theirs)).status_code == 200
    http.refused(await world.nobody.client.get(stolen), 404, "JOB_NOT_FOUND")


async def test_a_stage_that_is_down_fails_the_job_and_refunds(world: World) -> None:
    world.gateway.services["Reconstruct"].error = Unavailable("gone", reason="STAGE_UNAVAILABLE")
    before = good(await world.rich.client.get("/v1/credits"), 200)["balance"]
    accepted = good(await world.rich.transform(world.session_id), 202)
    await world.rich.story(accepted["events_url"])
    result = await world.rich.result(accepted["job_id"])
    world.gateway.services["Reconstruct"].error = None
    assert (result["status"], result["credits_refunded"]) == ("failed", 75)
    assert (result["error"]["step"], result["error"]["code"]) == ("generating-3d", "STAGE_UNAVAILABLE")
    assert good(await world.rich.client.get("/v1/credits"), 200)["balance"] == before


async def test_events_need_a_key_or_a_signature(world: World) -> None:
    path = f"/v1/studio/jobs/{world.job_id}/events"
    http.refused(await world.nobody.client.get(path), 401, "UNAUTHENTICATED")
    http.refused(await world.nobody.client.get(path, params={"account": "poor"}), 401, "UNAUTHENTICATED")
    with_key = await world.poor.story(path)
    signed = with_key[-1][1]["job"] and world.gateway.signer.events_url(
        await world.gateway.studio.job("poor", world.job_id), world.gateway.http
    )
    assert await world.nobody.story(signed) == with_key
    http.refused(await world.rich.client.get(signed), 404, "JOB_NOT_FOUND")
    for old, new in (("account=poor", "account=rich"), ("signature=", "signature=x"), ("expires=1", "expires=2")):
        assert old in signed
        http.refused(await world.nobody.client.get(signed.replace(old, new)), 404, "LINK_UNKNOWN")
    for_another = signed.replace(world.job_id, str(uuid.uuid4()))
    http.refused(await world.nobody.client.get(for_another), 404, "LINK_UNKNOWN")


async def _available(world: World) -> dict[str, int]:
    with world.gateway.store.database.reading() as connection:
        return {name: ledger.balance(connection, name).available for name in world.keys}


async def _on_old_session(world: World, call: Callable[[str], Awaitable[Any]]) -> Any:
    fresh = await world.gateway.studio.session("rich", world.session_id)
    old = replace(fresh, session_id=str(uuid.uuid4()), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with world.gateway.store.database.writing() as connection:
        world.gateway.store.add_session(connection, old)
    return await call(old.session_id)


async def _in_a_hurry(call: Callable[[], Answer]) -> httpx.Response:
    for _ in range(BURST):
        assert (await call()).status_code == 200
    return await call()


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
