"""Results kept and used again, by the fingerprint of what made them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway import ledger
from gateway.model import Session
from gateway.options import JobOptions, PromptBackground
from gateway.stages import Stages, Work
from gateway.store import Database, Store
from lensora.core.blobs import sha256_hex
from lensora.segment.v1 import segment_pb2
from lensora.studio.v1 import studio_pb2
from lensora.type.v1 import blob_pb2, geometry_pb2, scene_pb2
from tests.contract.harness import Gateway, running_gateway, spec_of
from tests.contract.scripted import JOB_METHODS, PATIENCE, Services
from tests.postgres import Postgres

ALL = dict.fromkeys(JOB_METHODS, 1)


def size(width: int) -> dict[str, Any]:
    return {"output": studio_pb2.OutputSpec(size=geometry_pb2.Size(width=width, height=720))}


def forget(services: Services) -> None:
    for name in ("DetectObjects", *JOB_METHODS):
        services[name].calls.clear()


async def test_the_same_again_runs_nothing(gateway: Gateway, services: Services) -> None:
    first = await gateway.make()
    forget(services)
    again = await gateway.make()
    assert services.counts() == {}, "not even detection"
    assert all(record.reused for record in again.steps)
    assert {artifact.kind: artifact.sha256 for artifact in again.artifacts} == {
        artifact.kind: artifact.sha256 for artifact in first.artifacts
    }
    assert (again.mesh, again.camera, again.crop_bbox) == (first.mesh, first.camera, first.crop_bbox)
    fingerprints = {record.fingerprint for record in again.steps}
    assert fingerprints == {services[name].service.engine().fingerprint for name in JOB_METHODS}


@pytest.mark.parametrize(
    ("changes", "ran"),
    [
        ({"camera_preset": scene_pb2.CAMERA_PRESET_TURNTABLE}, {"Render"}),
        ({"output": studio_pb2.OutputSpec(duration_s=2)}, {"Render"}),
        ({"background": studio_pb2.Background(prompt="a beach")}, {"BuildScene", "Compose", "Render"}),
        ({"seed": 1}, {"BuildScene", "Compose", "Reconstruct", "Render"}),
        (size(640), {"BuildScene", "Compose", "Render"}),
        ({"object_index": 1}, {"Segment", "Compose", "Reconstruct", "Render"}),
        ({"on_slab": studio_pb2.ON_SLAB_FAIL}, set()),
    ],
)
async def test_only_what_changed_runs(
    gateway: Gateway, services: Services, changes: dict[str, Any], ran: set[str]
) -> None:
    await gateway.make()
    forget(services)
    job = await gateway.make(**changes)
    assert set(services.counts()) == ran
    made = {record.step: record.reused for record in job.steps}
    assert made[studio_pb2.STEP_GENERATING_BG] == ("BuildScene" not in ran)
    assert made[studio_pb2.STEP_RENDERING_VIDEO] == ("Render" not in ran)
    assert made[studio_pb2.STEP_CROPPING] == made[studio_pb2.STEP_REMOVING_BG] == ("Segment" not in ran)


async def test_another_photo_shares_only_the_scene(gateway: Gateway, services: Services) -> None:
    await gateway.make()
    forget(services)
    await gateway.finished((await gateway.create(spec_of((await gateway.upload(b"other")).session_id))).job_id)
    assert set(services.counts()) == {"DetectObjects", "Segment", "Compose", "Reconstruct", "Render"}


async def test_a_canarys_result_is_kept_as_its_own(fresh: Gateway) -> None:
    """The stable engine is advertised, a canary answers one call, then the stable one is back."""
    services = fresh.services
    services.render.version, services.render.advertised = "2", "1"
    first = await fresh.make()
    assert first.steps[-1].fingerprint == "render/scripted@2"
    forget(services)
    stages = fresh.studio._stages
    stages._fingerprints["render"] = "render/scripted@1"
    services.render.version = "1"
    second = await fresh.make()
    assert services.counts() == {"Render": 1}, "what the canary made is not the stable engine's"
    assert second.steps[-1].fingerprint == "render/scripted@1"
    forget(services)
    for version in ("1", "2"):
        stages._fingerprints["render"] = f"render/scripted@{version}"
        kept = await fresh.make()
        assert (kept.steps[-1].fingerprint, kept.steps[-1].reused) == (f"render/scripted@{version}", True)
    assert services.counts() == {}


async def test_what_comes_with_a_result_counts_as_advertised(fresh: Gateway) -> None:
    await fresh.make()
    fresh.services.mesh3d.version = "2"
    await fresh.make(seed=1)
    forget(fresh.services)
    again = await fresh.make()
    assert fresh.services.counts()["Reconstruct"] == 1, "the new engine makes its own"
    assert again.steps[4].fingerprint == "mesh3d/scripted@2"


async def test_a_gateway_that_starts_asks_which_engines_there_are(tmp_path: Path, services: Services) -> None:
    async with running_gateway(tmp_path, services) as gateway:
        await gateway.make()
        assert [service.asked for service in services] == [1] * 5
    forget(services)
    async with running_gateway(tmp_path, services) as gateway:
        await gateway.make()
        assert services.counts() == {}, "results outlive the process"
    services.segment.version = "1000000"
    async with running_gateway(tmp_path, services) as gateway:
        job = await gateway.make()
    assert services.counts() == {"Segment": 1}, "the same cut-out by another engine changes nothing after it"
    assert not job.steps[1].reused


async def test_another_account_never_hits(gateway: Gateway, services: Services) -> None:
    """Through the use cases, because this build's edge knows one account only."""
    job = await gateway.make()
    mine = await gateway.store.session("local", job.spec.session_id)
    assert mine is not None
    photo = await asyncio.to_thread(gateway.blobs.open, "local", mine.photo.sha256)
    with photo:
        gateway.blobs.put("them", photo.read())
    theirs: Session = replace(mine, account_id="them", session_id="2a91884c-1bb5-44e3-a6e0-7db0a5a56668")
    await gateway.add_session(theirs)
    with gateway.store.database.writing() as connection:
        ledger.grant(connection, "them", "some", 1000)
    forget(services)
    options = JobOptions(
        session_id=UUID(theirs.session_id),
        object_index=0,
        background=PromptBackground(prompt="a marble table"),
        camera_preset="cinematic",
    )
    other = await gateway.studio.create_job("them", options)
    async with asyncio.timeout(PATIENCE):
        events = [event async for event in gateway.studio.watch("them", other.job_id, 0)]
    assert events[-1].status == "succeeded"
    assert services.counts() == ALL
    for name in JOB_METHODS:
        assert "/local/" not in str(services[name].calls[0].request), "and reads nothing of another account"


@pytest.mark.parametrize(
    ("kind", "ran"),
    [
        (studio_pb2.ARTIFACT_KIND_VIDEO, {"Render"}),
        (studio_pb2.ARTIFACT_KIND_GLB, {"Reconstruct"}),
        (studio_pb2.ARTIFACT_KIND_CUTOUT, {"Segment"}),
    ],
)
async def test_a_kept_result_whose_bytes_are_gone_is_made_again(
    gateway: Gateway, services: Services, kind: Any, ran: set[str]
) -> None:
    first = await gateway.make()
    sha256 = next(artifact.sha256 for artifact in first.artifacts if artifact.kind == kind)
    gateway.blobs.remove("local", [sha256])
    forget(services)
    again = await gateway.make()
    assert set(services.counts()) == ran
    assert await gateway.download(again.job_id, kind), "and is there again"


async def test_two_equal_jobs_at_once_both_end_well(gateway: Gateway) -> None:
    session = await gateway.upload()
    jobs = [await gateway.create(spec_of(session.session_id)) for _ in range(4)]
    ended = [await gateway.finished(job.job_id) for job in jobs]
    assert {job.status for job in ended} == {studio_pb2.JOB_STATUS_SUCCEEDED}


async def test_a_failed_stage_keeps_nothing_and_the_others_results_stay(gateway: Gateway, services: Services) -> None:
    services["Render"].error = RuntimeError("broken")  # type: ignore[assignment]
    await gateway.finished((await gateway.start()).job_id)
    services["Render"].error = None
    forget(services)
    await gateway.make()
    counts = services.counts()
    assert counts.pop("Render") == 1
    assert set(counts) <= {"Compose"}, "which the failure may have cancelled"


async def test_what_another_replica_kept_while_a_service_was_away_is_found(
    gateway: Gateway, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await gateway.upload()
    first = await gateway.finished((await gateway.create(spec_of(session.session_id))).job_id)
    counts, look, asked = services.counts(), gateway.store.stage_result, set[str]()

    async def too_early(account: str, digest: str, session_id: str) -> bytes | None:
        if digest in asked:
            return await look(account, digest, session_id)
        asked.add(digest)
        return None

    monkeypatch.setattr(gateway.store, "stage_result", too_early)
    again = await gateway.finished((await gateway.create(spec_of(session.session_id))).job_id)
    assert services.counts() == counts
    assert [one.sha256 for one in again.artifacts] == [one.sha256 for one in first.artifacts]


async def ignored(_fraction: float, _phase: str) -> None:
    """Progress that nobody follows."""


async def test_replicas_that_want_the_same_at_once_make_it_once(
    gateway: Gateway, services: Services, postgres: Postgres, postgres_template: str
) -> None:
    url, photo = postgres.new_database(postgres_template), b"a photo"
    replicas = []
    for name in ("one", "two", "three"):
        settings = gateway.settings.model_copy(update={"executor_id": name, "database_url": url})
        replicas.append(Stages(settings, Store(Database.of(settings)), gateway.blobs))
        await replicas[-1].store.renew_lease(name, datetime.now(UTC) + timedelta(minutes=1))
    gateway.blobs.put("local", photo)
    whole = geometry_pb2.Box(x1=0, y1=0, x2=1, y2=1)
    request = segment_pb2.SegmentRequest(photo=blob_pb2.Blob(sha256=sha256_hex(photo), size=len(photo)), box=whole)
    hold = services["Segment"].held()
    work = Work("local", "session", "request", ignored)
    wanted = [asyncio.create_task(stages.segment(work, request)) for stages in replicas]
    await services["Segment"].begun()
    await asyncio.sleep(0.5)
    assert services.counts()["Segment"] == 1, "the others wait"
    hold.set()
    outcomes = await asyncio.gather(*wanted)
    assert services.counts()["Segment"] == 1
    assert sorted(outcome.reused for outcome in outcomes) == [False, True, True]
    assert len({outcome.result.SerializeToString() for outcome in outcomes}) == 1
    for stages in replicas:
        await stages.close()
        stages.store.database.close()
