"""Recorded inputs: the requests that the services got for the newest jobs, out of a gateway's tables and blobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from cli.canary.cases import Case, newest, of_jobs
from cli.canary.tracks import Tracks
from gateway.blobs import open_store
from gateway.model import ArtifactKind, DetectedObject, Job, JobStatus, Session, StoredBlob
from gateway.options import JobOptions, PromptBackground, TransparentBackground
from gateway.settings import Settings
from gateway.store import Database, Store, schema
from lensora.background.v1 import background_pb2
from lensora.core.errors import FailedPrecondition
from lensora.core.geometry import FULL_FRAME, Box
from lensora.mesh3d.v1 import mesh3d_pb2
from lensora.segment.v1 import segment_pb2
from tests.mesh import toys

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOX = Box(0.1, 0.2, 0.7, 0.9)


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    """Of a gateway that did four jobs on one photo: two went well, one failed, and one has lost its bytes."""
    settings = Settings(home=tmp_path)
    blobs = open_store("", tmp_path / "blobs", 60.0)

    def kept(data: bytes, media_type: str) -> StoredBlob:
        return StoredBlob(blobs.put("local", data), len(data), media_type)

    photo, cutout, glb = (
        kept(toys.photo(), "image/png"),
        kept(b"cutout", "image/png"),
        kept(b"glb", "model/gltf-binary"),
    )
    objects = (
        DetectedObject(0, "ball", "object", BOX, 0.9),
        DetectedObject(1, "all of it", "full_frame", FULL_FRAME, 0.1),
    )
    session = Session(str(uuid4()), "local", photo, 96, 96, objects, 1, NOW, NOW + timedelta(days=9999))
    options = JobOptions(
        session_id=UUID(session.session_id),
        object_index=0,
        background=PromptBackground(prompt="a beach"),
        camera_preset="turntable",
        seed=7,
    )
    artifacts = {ArtifactKind.CUTOUT: cutout, ArtifactKind.GLB: glb}
    first = Job("first", "local", options, NOW, JobStatus.SUCCEEDED, artifacts=artifacts)
    whole = options.model_copy(update={"object_index": 1, "background": TransparentBackground()})
    gone = {kind: replace(blob, sha256="0" * 64) for kind, blob in artifacts.items()}
    database = Database.of(settings)
    store = Store(database)
    with database.writing() as connection:
        schema.upgrade(connection)
        store.add_session(connection, session)
        for job in (
            first,
            replace(first, job_id="failed", status=JobStatus.FAILED, artifacts={}),
            replace(first, job_id="second", options=whole),
            replace(first, job_id="gone", artifacts=gone),
        ):
            store.add_job(connection, job)
    database.close()
    return settings


async def cases(settings: Settings, service: str, count: int = 9, account: str = "local") -> list[Case]:
    """What is found."""
    tracks = Tracks(settings)
    try:
        return [case async for case in of_jobs(tracks, service, settings, count, account)]
    finally:
        await tracks.close()


async def test_a_mesh_is_made_anew_of_the_same_cutout_and_seed(settings: Settings) -> None:
    found = await cases(settings, "mesh3d")
    assert [case.name for case in found] == ["second", "first"], "newest first, and only what can be replayed"
    for case in found:
        assert isinstance(case.request, mesh3d_pb2.ReconstructRequest)
        assert (case.request.seed, case.photo) == (7, b"cutout")
    assert [case.name for case in await cases(settings, "mesh3d", 1)] == ["second"]


async def test_the_subject_is_the_one_that_was_chosen(settings: Settings) -> None:
    requests = {case.name: case.request for case in await cases(settings, "segment")}
    first, second = requests["first"], requests["second"]
    assert isinstance(first, segment_pb2.SegmentRequest) and isinstance(second, segment_pb2.SegmentRequest)
    assert (first.box.x1, first.box.y2, first.keep_all_parts) == (BOX.x1, BOX.y2, False)
    assert second.keep_all_parts and second.box.x2 == 1.0
    assert "gone" in requests, "its photo is there still"


async def test_a_scene_is_made_of_the_same_words(settings: Settings) -> None:
    requests = {case.name: case.request for case in await cases(settings, "background")}
    first, second = requests["first"], requests["second"]
    assert isinstance(first, background_pb2.BuildSceneRequest) and isinstance(second, background_pb2.BuildSceneRequest)
    assert (first.backdrop.prompt, first.seed) == ("a beach", 7)
    assert second.backdrop.WhichOneof("kind") == "studio"


async def test_an_account_without_jobs_has_nothing_to_judge_by(settings: Settings) -> None:
    with pytest.raises(FailedPrecondition) as nothing:
        await cases(settings, "mesh3d", account="acme")
    assert nothing.value.reason == "NO_CASES"


async def test_what_a_walk_watches_is_all_that_is_new(settings: Settings) -> None:
    assert [job.job_id for job in await newest(settings, "local")] == ["gone", "second", "failed", "first"]
