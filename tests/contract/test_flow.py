"""One job from its photo to its four artifacts: the graph, the steps, the story."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import Any

import grpc
import pytest

from lensora.studio.v1 import studio_pb2
from lensora.type.v1 import geometry_pb2, mesh_pb2, scene_pb2
from tests.contract.harness import Gateway, refused, running_gateway, spec_of
from tests.contract.scripted import JOB_METHODS, Services, blobs_of

ALPHA_VIDEO = studio_pb2.ARTIFACT_KIND_ALPHA_VIDEO
SUCCEEDED = studio_pb2.JOB_STATUS_SUCCEEDED


def times(job: studio_pb2.Job) -> dict[int, tuple[int, int]]:
    """Start and end of each step, nanoseconds."""
    return {record.step: (record.started_at.ToNanoseconds(), record.ended_at.ToNanoseconds()) for record in job.steps}


async def test_a_job_makes_its_four_artifacts(gateway: Gateway) -> None:
    session = await gateway.upload()
    accepted = await gateway.create(spec_of(session.session_id, object_index=1, seed=7))
    assert accepted.status == studio_pb2.JOB_STATUS_QUEUED
    job = await gateway.finished(accepted.job_id)
    assert job.status == SUCCEEDED
    media_types = {artifact.kind: artifact.media_type for artifact in job.artifacts}
    assert media_types == {1: "video/mp4", 2: "model/gltf-binary", 3: "image/png", 4: "image/png"}
    assert job.spec == spec_of(
        session.session_id,
        object_index=1,
        seed=7,
        on_slab=studio_pb2.ON_SLAB_CLAMP,
        output=studio_pb2.OutputSpec(size=geometry_pb2.Size(width=1280, height=720), duration_s=5.0),
    ), "the spec comes back with its defaults filled in"
    assert job.mesh == mesh_pb2.MeshReport(
        thin_axis_ratio=0.5,
        verdict=mesh_pb2.VERDICT_VOLUME,
        watertight=True,
        triangles=12,
        method="lathe",
        front_yaw_degrees=12.5,
    )
    assert job.mesh_engine == "scripted"
    assert job.camera == scene_pb2.CameraReport(preset=scene_pb2.CAMERA_PRESET_CINEMATIC, arc_degrees=180.0)
    assert job.crop_bbox.x1 == pytest.approx(0.47)
    assert job.crop_bbox.y2 == 1.0
    assert job.scene_note == "a scene for a marble table"
    assert not any(record.reused for record in job.steps)
    assert job == await gateway.get(job.job_id), "the last event's job is the stored one"
    assert gateway.staged() == []


async def test_what_a_service_says_of_a_result_stands_with_its_step(gateway: Gateway, services: Services) -> None:
    said = "fallback; reason=TRITON_DOWN; by=mesh3d/embedded@1"
    services["Reconstruct"].notice = said + " " * 1000
    first, second = [await gateway.make() for _ in range(2)]
    notices = {record.step: record.notice.strip() for record in first.steps if record.notice}
    assert notices == {studio_pb2.STEP_GENERATING_3D: said}
    assert max(len(record.notice) for record in first.steps) == 500
    assert not any(record.notice for record in second.steps), "of a result that is used again nothing was said"


async def test_each_stage_gets_what_its_inputs_and_the_spec_say(gateway: Gateway, services: Services) -> None:
    output = studio_pb2.OutputSpec(size=geometry_pb2.Size(width=256, height=1920), duration_s=2.5)
    session = await gateway.upload(max_objects=3)
    full_frame = len(session.objects) - 1
    job = await gateway.make(
        object_index=full_frame, seed=-9, output=output, camera_preset=scene_pb2.CAMERA_PRESET_DOLLY
    )
    sha256: dict[int, str] = {artifact.kind: artifact.sha256 for artifact in job.artifacts}
    asked: dict[str, Any] = {name: services[name].calls[0].request for name in JOB_METHODS}
    assert services["DetectObjects"].calls[0].request.image.sha256 == hashlib.sha256(gateway.photo).hexdigest()
    assert asked["Segment"].box == geometry_pb2.Box(x1=0, y1=0, x2=1, y2=1)
    assert asked["Segment"].keep_all_parts
    assert asked["BuildScene"].backdrop.prompt == "a marble table"
    assert asked["BuildScene"].size == asked["Render"].size == output.size
    assert {asked[name].seed for name in ("BuildScene", "Reconstruct", "Render")} == {-9}
    assert (asked["Render"].duration_s, asked["Render"].camera_preset) == (2.5, scene_pb2.CAMERA_PRESET_DOLLY)
    assert asked["Compose"].cutout.sha256 == asked["Reconstruct"].cutout.sha256 == sha256[4]
    assert asked["Render"].mesh.sha256 == sha256[2]
    assert asked["Compose"].scene.plate.sha256 == asked["Render"].scene.plate.sha256
    assert sha256[3] not in {blob.sha256 for blob in blobs_of(asked["Render"])}, "the film never rests on the still"
    assert not asked["Render"].HasField("alpha_video_target")
    targets = [
        getattr(request, descriptor.name).url
        for request in asked.values()
        for descriptor in request.DESCRIPTOR.fields
        if descriptor.name.endswith("_target") and request.HasField(descriptor.name)
    ]
    assert len(set(targets)) == len(targets) == 6, "every result has a place of its own to go"
    assert {services[name].calls[0].request_id for name in JOB_METHODS} == {job.job_id}


async def test_transparent_is_a_studio_and_a_film_with_alpha(gateway: Gateway, services: Services) -> None:
    job = await gateway.make(background=studio_pb2.Background(transparent=studio_pb2.TransparentBackground()))
    assert services["BuildScene"].calls[0].request.backdrop.WhichOneof("kind") == "studio"
    assert {artifact.kind: artifact.media_type for artifact in job.artifacts}[ALPHA_VIDEO] == "video/webm"
    head, *rest = await gateway.download(job.job_id, ALPHA_VIDEO)
    assert hashlib.sha256(b"".join(message.chunk for message in rest)).hexdigest() == head.artifact.sha256


async def test_the_film_with_alpha_is_made_for_transparent_alone(gateway: Gateway) -> None:
    job = await gateway.make()
    error = await refused(gateway.download(job.job_id, ALPHA_VIDEO), grpc.StatusCode.NOT_FOUND)
    assert error.reason == "ARTIFACT_NOT_ASKED_FOR"
    assert "transparent" in error.message


async def test_a_film_with_alpha_that_is_missing_fails_the_job(gateway: Gateway, services: Services) -> None:
    services["Render"].tweak = lambda result: result.ClearField("alpha_video")
    job = await gateway.start(background=studio_pb2.Background(transparent=studio_pb2.TransparentBackground()))
    assert (await gateway.finished(job.job_id)).error.reason == "STAGE_PROTOCOL"


async def test_large_results_go_through_the_targets(gateway: Gateway, services: Services) -> None:
    for method in ("DetectObjects", *JOB_METHODS):
        services[method].to_target = True
        services[method].size = 300_000
    job = await gateway.make()
    assert {artifact.size for artifact in job.artifacts} == {300_000}
    for artifact in job.artifacts:
        head, *chunks = await gateway.download(job.job_id, artifact.kind)
        assert hashlib.sha256(b"".join(chunk.chunk for chunk in chunks)).hexdigest() == head.artifact.sha256
    assert gateway.staged() == []


async def test_the_graph_runs_in_parallel_and_waits_only_for_what_it_needs(
    gateway: Gateway, services: Services
) -> None:
    holds = {name: services[name].held() for name in JOB_METHODS}
    job = await gateway.start()
    await asyncio.gather(services["Segment"].begun(), services["BuildScene"].begun())
    assert set(services.counts()) == {"DetectObjects", "Segment", "BuildScene"}, "the scene starts beside segment"
    holds["Segment"].set()
    await services["Reconstruct"].begun()
    assert not services["Compose"].calls, "the still needs the scene"
    holds["Reconstruct"].set()
    await gateway.until(job.job_id, studio_pb2.STEP_GENERATING_3D, studio_pb2.STEP_STATE_DONE)
    assert not services["Render"].calls, "the film needs the scene"
    holds["BuildScene"].set()
    await asyncio.gather(services["Compose"].begun(), services["Render"].begun())
    holds["Render"].set()
    await gateway.until(job.job_id, studio_pb2.STEP_RENDERING_VIDEO, studio_pb2.STEP_STATE_DONE)
    assert (await gateway.get(job.job_id)).step == studio_pb2.STEP_COMPOSITING
    holds["Compose"].set()
    done = await gateway.finished(job.job_id)
    assert done.status == SUCCEEDED
    spans = times(done)
    assert spans[3][0] < spans[2][1], "generating-bg began before removing-bg ended"
    assert spans[4][1] > spans[6][1], "the still ended after the film"
    assert spans[6][0] >= max(spans[5][1], spans[3][1])
    assert all(start <= end for start, end in spans.values())


async def test_the_film_waits_for_the_mesh_and_the_still_for_the_cutout(gateway: Gateway, services: Services) -> None:
    segment, mesh = services["Segment"].held(), services["Reconstruct"].held()
    job = await gateway.start()
    await gateway.until(job.job_id, studio_pb2.STEP_GENERATING_BG, studio_pb2.STEP_STATE_DONE)
    assert set(services.counts()) == {"DetectObjects", "Segment", "BuildScene"}
    segment.set()
    await asyncio.gather(services["Reconstruct"].begun(), services["Compose"].begun())
    await gateway.until(job.job_id, studio_pb2.STEP_COMPOSITING, studio_pb2.STEP_STATE_DONE)
    assert not services["Render"].calls
    mesh.set()
    assert (await gateway.finished(job.job_id)).status == SUCCEEDED


@pytest.mark.parametrize("seed", range(3))
async def test_step_and_progress_never_go_back_in_any_order(gateway: Gateway, services: Services, seed: int) -> None:
    order = random.Random(seed).sample(JOB_METHODS, len(JOB_METHODS))  # noqa: S311
    holds = {name: services[name].held() for name in JOB_METHODS}
    for name in JOB_METHODS:
        services[name].phases = [(fraction / 5, "") for fraction in range(6)]
    services["Segment"].phases = [(0.5, "cropping"), (1.0, "cropping"), (0.1, "removing-bg"), (0.9, "removing-bg")]
    job = await gateway.start()
    seen: list[tuple[int, float]] = []
    for name in order:
        holds[name].set()
        now = await gateway.get(job.job_id)
        seen.append((now.step, now.progress))
    async for response in gateway.watch(job.job_id):
        now = await gateway.get(job.job_id)
        seen.append((now.step, now.progress))
        assert response.event.progress <= now.progress
    assert [step for step, _ in seen] == sorted(step for step, _ in seen)
    assert [share for _, share in seen] == sorted(share for _, share in seen)
    assert seen[-1] == (studio_pb2.STEP_DONE, 1.0)
    await gateway.finished(job.job_id)


async def test_a_service_that_goes_back_in_its_phases_takes_no_step_back(gateway: Gateway, services: Services) -> None:
    services["Segment"].phases = [(0.5, "cropping"), (0.6, "removing-bg"), (0.7, "cropping"), (0.2, "removing-bg")]
    for name in ("BuildScene", "Reconstruct"):
        services[name].phases = [(0.9, ""), (0.1, ""), (-3.0, ""), (7.0, ""), (float("nan"), "")]
    assert (await gateway.make()).status == SUCCEEDED


async def test_a_flood_of_progress_is_thinned(gateway: Gateway, services: Services) -> None:
    services["Render"].phases = [(number / 400, "") for number in range(400)]
    job = await gateway.make()
    events = [response.event for response in await gateway.story(job.job_id)]
    assert 5 < sum(event.step == studio_pb2.STEP_RENDERING_VIDEO for event in events) < 120


async def test_no_more_than_running_jobs_run(tmp_path: Any, services: Services) -> None:
    hold = services["Segment"].held()
    async with running_gateway(tmp_path, services, running_jobs=1) as gateway:
        session = await gateway.upload()
        first, second = [await gateway.create(spec_of(session.session_id, object_index=index)) for index in (0, 1)]
        await services["Segment"].begun()
        waiting = await gateway.get(second.job_id)
        assert (waiting.status, waiting.progress) == (studio_pb2.JOB_STATUS_QUEUED, 0.0)
        assert not waiting.HasField("started_at")
        hold.set()
        for job in (first, second):
            assert (await gateway.finished(job.job_id)).status == SUCCEEDED
    first_film, second_cutout = services["Render"].calls[0], services["Segment"].calls[1]
    assert (first_film.request_id, second_cutout.request_id) == (first.job_id, second.job_id)
    assert first_film.ended is not None
    assert first_film.ended <= second_cutout.begun, "jobs run in the order in which they came"
