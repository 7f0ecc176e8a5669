"""Recorded inputs of a stage: of jobs that the gateway did, or made from photos with the stable track."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from cli.canary.tracks import Tracks
from gateway.model import ArtifactKind, Job, JobStatus, Session
from gateway.options import PromptBackground
from gateway.settings import Settings
from gateway.store import Database, Store
from lensora.background.v1 import background_pb2
from lensora.core.errors import FailedPrecondition, LensoraError
from lensora.detect.v1 import detect_pb2
from lensora.mesh3d.v1 import mesh3d_pb2
from lensora.render.v1 import render_pb2
from lensora.runtime.convert import box_to_proto
from lensora.segment.v1 import segment_pb2
from lensora.type.v1 import blob_pb2, geometry_pb2, scene_pb2

_SIZE = geometry_pb2.Size(width=640, height=360)
_SECONDS = 1.0
"""Of film: its cost grows with it, what it shows of a renderer does not."""

_PAGE = 100


@dataclass(frozen=True, slots=True)
class Case:
    """One input."""

    name: str
    request: Message
    photo: bytes
    """What it is about, PNG or JPEG, for the report."""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """From what requests are made; the later stages' only where they are needed."""

    name: str
    photo: blob_pb2.Blob
    box: geometry_pb2.Box
    whole: bool
    cutout: Callable[[], Coroutine[Any, Any, blob_pb2.Blob]]
    mesh: Callable[[], Coroutine[Any, Any, blob_pb2.Blob]]
    prompt: str = ""
    seed: int = 0


async def of_photos(tracks: Tracks, service: str, folder: Path) -> AsyncIterator[Case]:
    """One of each photo, as far as the stable track finds something in it.

    Raises:
        LensoraError: the stable track fails.
    """
    files = await asyncio.to_thread(_photos, folder)
    if not files:
        raise FailedPrecondition(f"there are no photos in {folder}", reason="NO_CASES")
    for file in files:
        upload = tracks.blob(file.read_bytes(), "application/octet-stream")
        found = detect_pb2.DetectObjectsRequest(image=upload)
        if service == "detect":
            yield Case(file.stem, found, tracks.data(upload))
            continue
        result = await tracks.result(found)
        first = result.proposals[0]
        yield await _case(tracks, service, _from_photo(tracks, file.stem, result.photo, first))


def _photos(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))


def _from_photo(tracks: Tracks, name: str, photo: blob_pb2.Blob, chosen: detect_pb2.Proposal) -> _Inputs:
    whole = chosen.category == "full_frame"

    async def cutout() -> blob_pb2.Blob:
        request = segment_pb2.SegmentRequest(photo=photo, box=chosen.bbox, keep_all_parts=whole)
        made: blob_pb2.Blob = (await tracks.result(request)).cutout
        return made

    async def mesh() -> blob_pb2.Blob:
        made: blob_pb2.Blob = (await tracks.result(mesh3d_pb2.ReconstructRequest(cutout=await cutout()))).mesh
        return made

    return _Inputs(name, photo, chosen.bbox, whole, cutout, mesh, "on a wooden table")


async def of_jobs(tracks: Tracks, service: str, settings: Settings, count: int, account: str) -> AsyncIterator[Case]:
    """One of each of the account's newest jobs that ended well, and whose bytes are still there.

    Raises:
        FailedPrecondition: reason ``NO_CASES``.
    """
    database = Database.of(settings)
    try:
        store, before, made = Store(database), None, 0
        while made < count:
            page = await store.list_jobs(account, _PAGE, before)
            if not page:
                break
            before = page[-1][0]
            for job in (job for _, job in page if job.status is JobStatus.SUCCEEDED):
                session = await store.session(account, str(job.options.session_id))
                if session is None or made == count:
                    continue
                case = await _of_job(tracks, service, session, job)
                if case is not None:
                    made += 1
                    yield case
    finally:
        database.close()
    if not made:
        raise FailedPrecondition(
            f"no job of account {account} that ended well has its bytes still; give --photos", reason="NO_CASES"
        )


async def newest(settings: Settings, account: str) -> Sequence[Job]:
    """The account's newest jobs, in whatever state."""
    database = Database.of(settings)
    try:
        return [job for _, job in await Store(database).list_jobs(account, _PAGE, None)]
    finally:
        database.close()


async def _of_job(tracks: Tracks, service: str, session: Session, job: Job) -> Case | None:
    chosen = session.objects[job.options.object_index]
    background = job.options.background

    def artifact(kind: ArtifactKind) -> Callable[[], Coroutine[Any, Any, blob_pb2.Blob]]:
        stored = job.artifacts[kind]
        return lambda: tracks.recorded(job.account_id, stored.sha256, stored.media_type)

    try:
        photo = await tracks.recorded(job.account_id, session.photo.sha256, session.photo.media_type)
        inputs = _Inputs(
            job.job_id,
            photo,
            box_to_proto(chosen.box),
            chosen.category == "full_frame",
            artifact(ArtifactKind.CUTOUT),
            artifact(ArtifactKind.GLB),
            background.prompt if isinstance(background, PromptBackground) else "",
            job.options.seed,
        )
        return await _case(tracks, service, inputs)
    except LensoraError as error:
        if error.reason == "BLOB_GONE":
            return None
        raise


async def _case(tracks: Tracks, service: str, inputs: _Inputs) -> Case:
    """The request that the service would get."""
    photo = tracks.data(inputs.photo)
    match service:
        case "detect":
            return Case(inputs.name, detect_pb2.DetectObjectsRequest(image=inputs.photo), photo)
        case "segment":
            request = segment_pb2.SegmentRequest(photo=inputs.photo, box=inputs.box, keep_all_parts=inputs.whole)
            return Case(inputs.name, request, photo)
        case "background":
            return Case(inputs.name, _scene_request(inputs), photo)
        case "mesh3d":
            cutout = await inputs.cutout()
            return Case(
                inputs.name, mesh3d_pb2.ReconstructRequest(cutout=cutout, seed=inputs.seed), tracks.data(cutout)
            )
        case _:
            film = render_pb2.RenderRequest(
                mesh=await inputs.mesh(),
                scene=(await tracks.result(_scene_request(inputs))).scene,
                camera_preset=scene_pb2.CAMERA_PRESET_TURNTABLE,
                size=_SIZE,
                duration_s=_SECONDS,
                seed=inputs.seed,
            )
            return Case(inputs.name, film, photo)


def _scene_request(inputs: _Inputs) -> background_pb2.BuildSceneRequest:
    """Of a link or a picture of the caller's own the neutral studio is made: what is linked may have changed."""
    words = {"prompt": inputs.prompt} if inputs.prompt else {"studio": background_pb2.StudioBackdrop()}
    backdrop = background_pb2.Backdrop(**words)
    return background_pb2.BuildSceneRequest(backdrop=backdrop, size=_SIZE, seed=inputs.seed)


async def first(cases: AsyncIterator[Case], count: int) -> Sequence[Case]:
    """The first ``count``, made now."""
    made: list[Case] = []
    async for case in cases:
        made.append(case)
        if len(made) == count:
            break
    return made
