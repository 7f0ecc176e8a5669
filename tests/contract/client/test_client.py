"""Everything that the SDK does, over either transport."""

from __future__ import annotations

import asyncio
import hashlib
import io
from pathlib import Path
from typing import Any

import pytest

from gateway import accounts, ledger
from lensora.client import AsyncJob, AsyncStudio, JobFailed, Output, Picture
from lensora.core.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    LensoraError,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from tests.contract.client.conftest import Line
from tests.contract.harness import Gateway, running_gateway
from tests.contract.scripted import Services

UNKNOWN = "0b3f0d6e-6f0e-4f0c-9d0e-3a1f1f6a7c11"


async def started(studio: AsyncStudio, photo: bytes) -> AsyncJob:
    return await (await studio.init(photo)).transform(background="a marble table", camera="cinematic")


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def test_from_a_photo_to_its_files(studio: AsyncStudio, gateway: Gateway, tmp_path: Path) -> None:
    session = await studio.init(gateway.photo, max_objects=3)
    assert [found.category for found in session.info.objects] == ["product", "object", "full_frame"]
    assert (session.info.objects[0].label, session.info.objects[0].bbox.x2) == ("reflex camera", 0.8)
    assert (session.info.credits_used, gateway.services["DetectObjects"].calls[0].request.max_objects) == (5, 3)
    job = await session.transform(
        background="transparent", camera="dolly", object_index=1, seed=7, output=Output(512, 256, 2.0)
    )
    events = [event async for event in job.watch()]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].status == "succeeded"
    assert [event.progress for event in events] == sorted(event.progress for event in events)
    result = await job.result()
    assert (result.ended, result.step, result.progress, result.session_id) == (
        True,
        "done",
        1.0,
        session.info.session_id,
    )
    assert [step.name for step in result.steps][1::3] == ["removing-bg", "generating-3d"]
    assert result.mesh is not None
    assert result.mesh.verdict == "volume"
    assert result.camera is not None
    assert result.camera.preset == "dolly"
    assert result == await job.status() == await studio.job(job.job_id).result()
    asked = gateway.services["Render"].calls[0].request
    assert (asked.size.width, asked.size.height, asked.duration_s) == (512, 256, 2.0)
    assert gateway.services["BuildScene"].calls[0].request.seed == 7
    assert sorted(result.outputs) == ["alpha_video", "cutout", "glb", "still", "video"]
    for kind in result.outputs:
        saved = await job.download(kind, tmp_path / kind)
        data = (tmp_path / kind).read_bytes()
        assert (saved.kind, saved.size, saved.sha256) == (kind, len(data), hashlib.sha256(data).hexdigest())
    assert names(tmp_path) == sorted(result.outputs), "and nothing is left beside them"


async def test_a_session_can_be_forgotten(studio: AsyncStudio, gateway: Gateway) -> None:
    session = await studio.init(gateway.photo)
    job = await session.transform(background="a marble table", camera="cinematic")
    await job.result()
    await session.delete()
    for gone in (session.delete, job.status):
        with pytest.raises(NotFound):
            await gone()


async def test_both_transports_tell_the_same(gateway: Gateway, scheme: str) -> None:
    other = gateway.http if scheme == "grpc" else f"grpc://{gateway.address}"
    mine = gateway.http if scheme == "http" else f"grpc://{gateway.address}"
    async with AsyncStudio(url=mine) as one, AsyncStudio(url=other) as two:
        job = await started(one, gateway.photo)
        result = await job.result()
        assert await two.job(job.job_id).result() == result
        assert [event async for event in two.job(job.job_id).watch(2)] == [event async for event in job.watch(2)]


@pytest.mark.parametrize("how", ["path", "bytes", "file"])
async def test_a_photo_is_a_path_bytes_or_a_file(
    studio: AsyncStudio, services: Services, tmp_path: Path, how: str
) -> None:
    data = how.encode() * 200_000
    (tmp_path / "photo").write_bytes(data)
    source: Any = {"path": tmp_path / "photo", "bytes": data, "file": io.BytesIO(data)}[how]
    await studio.init(source)
    asked = services["DetectObjects"].calls[0].request.image
    assert asked.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("how", ["path", "bytes", "file"])
async def test_a_photo_that_is_too_large_is_not_sent(
    studio: AsyncStudio, services: Services, tmp_path: Path, how: str
) -> None:
    data = bytes(20_000_001)
    (tmp_path / "photo").write_bytes(data)
    source: Any = {"path": str(tmp_path / "photo"), "bytes": data, "file": io.BytesIO(data)}[how]
    with pytest.raises(InvalidArgument) as caught:
        await studio.init(source)
    assert (caught.value.reason, caught.value.violations[0].field) == ("IMAGE_TOO_LARGE", "image")
    assert not services["DetectObjects"].calls


async def test_a_picture_as_background_needs_grpc(studio: AsyncStudio, scheme: str, gateway: Gateway) -> None:
    session = await studio.init(gateway.photo)
    if scheme == "http":
        with pytest.raises(InvalidArgument, match="grpc"):
            await session.transform(background=Picture(b"no picture"), camera="dolly")
    else:
        with pytest.raises(InvalidArgument) as caught:
            await session.transform(background=Picture(b"no picture"), camera="dolly")
        assert caught.value.violations[0].field == "background.picture"


async def test_errors_are_the_same_classes_and_reasons(studio: AsyncStudio, gateway: Gateway) -> None:
    session = await studio.init(gateway.photo)

    async def refused(kind: type[LensoraError], reason: str, field: str = "", **changes: object) -> None:
        order = {"background": "a table", "camera": "dolly"} | changes
        with pytest.raises(kind) as caught:
            await session.transform(**order)  # type: ignore[arg-type]
        assert caught.value.reason == reason
        assert [item.field for item in caught.value.violations] == ([field] if field else [])

    await refused(InvalidArgument, "INVALID_ARGUMENT", "object_index", object_index=99)
    await refused(InvalidArgument, "INVALID_ARGUMENT", "background.prompt", background=" ")
    await session.transform(background="a table", camera="dolly", idempotency_key=session.info.session_id)
    await refused(AlreadyExists, "IDEMPOTENCY_KEY_REUSED", seed=1, idempotency_key=session.info.session_id)
    with pytest.raises(NotFound) as missing:
        await studio.job(UNKNOWN).status()
    assert missing.value.reason == "JOB_NOT_FOUND"


async def test_a_failed_job_raises(studio: AsyncStudio, gateway: Gateway, tmp_path: Path) -> None:
    gateway.services["Reconstruct"].error = FailedPrecondition("nothing solid can be made of it", reason="NO_SHAPE")
    job = await started(studio, gateway.photo)
    with pytest.raises(JobFailed, match="generating-3d failed: nothing solid") as caught:
        await job.result()
    assert caught.value.reason == "NO_SHAPE"
    assert caught.value.result is not None
    assert (caught.value.result.credits_refunded, caught.value.result.outputs) == (75, {})
    with pytest.raises(FailedPrecondition) as nothing:
        await job.download("glb", tmp_path / "mesh.glb")
    assert nothing.value.reason == "JOB_NOT_SUCCEEDED"
    assert not names(tmp_path)


async def test_a_cancel_ends_the_job(studio: AsyncStudio, services: Services, gateway: Gateway) -> None:
    services["Segment"].held()
    job = await started(studio, gateway.photo)
    call = await services["Segment"].begun()
    assert (await job.cancel()).status == "cancelled"
    assert (await call.gone()).cancelled
    with pytest.raises(JobFailed) as caught:
        await job.result()
    assert caught.value.reason == "JOB_CANCELLED"


async def test_no_film_with_alpha_where_none_was_asked_for(
    studio: AsyncStudio, gateway: Gateway, tmp_path: Path
) -> None:
    job = await started(studio, gateway.photo)
    await job.result()
    with pytest.raises(NotFound) as caught:
        await job.download("alpha_video", tmp_path / "film.webm")
    assert caught.value.reason == "ARTIFACT_NOT_ASKED_FOR"


async def test_events_go_on_after_the_line_was_cut(
    line: tuple[Line, str], services: Services, gateway: Gateway
) -> None:
    wire, url = line
    held = services["Render"].held()
    seen = []
    async with AsyncStudio(url=url) as studio:
        job = await started(studio, gateway.photo)
        async for event in job.watch():
            seen.append(event)
            if event.step == "rendering-video" and not held.is_set():
                before = wire.connections
                await wire.cut()
                held.set()
        assert wire.connections > before, "the line was cut, and made again"
        assert (await job.result()).status == "succeeded"
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))


async def test_a_download_goes_on_where_it_was_cut(
    line: tuple[Line, str], services: Services, gateway: Gateway, tmp_path: Path
) -> None:
    wire, url = line
    services["Reconstruct"].size, services["Reconstruct"].to_target = 3_000_000, True
    async with AsyncStudio(url=url) as studio:
        job = await started(studio, gateway.photo)
        await job.result()
        wire.cut_after = 1_500_000
        saved = await job.download("glb", tmp_path / "mesh.glb")
        assert wire.cut_after is None, "the line was cut"
    data = (tmp_path / "mesh.glb").read_bytes()
    assert hashlib.sha256(data).hexdigest() == saved.sha256
    assert names(tmp_path) == ["mesh.glb"]


async def test_another_try_takes_up_what_an_earlier_one_left(
    line: tuple[Line, str], services: Services, gateway: Gateway, tmp_path: Path
) -> None:
    wire, url = line
    services["Reconstruct"].size, services["Reconstruct"].to_target = 3_000_000, True
    async with AsyncStudio(url=url, patience=0) as studio:
        job = await started(studio, gateway.photo)
        await job.result()
        wire.cut_after = 1_500_000
        with pytest.raises(Unavailable):
            await job.download("glb", tmp_path / "mesh.glb")
        (name,) = names(tmp_path)
        part = tmp_path / name
        left = part.stat().st_size
        assert 0 < left < 3_000_000
        wire.cut_after = 3_000_000 - left // 2  # the rest comes through, the whole would not
        await job.download("glb", tmp_path / "mesh.glb")
        assert wire.cut_after is not None
    assert (tmp_path / "mesh.glb").stat().st_size == 3_000_000
    assert not part.exists()


async def test_a_part_with_other_bytes_is_thrown_away(studio: AsyncStudio, gateway: Gateway, tmp_path: Path) -> None:
    job = await started(studio, gateway.photo)
    await job.result()
    whole = await job.download("glb", tmp_path / "mesh.glb")
    part = tmp_path / f".again.glb.{whole.sha256[:16]}.part"
    part.write_bytes(b"garbage")
    with pytest.raises(LensoraError) as caught:
        await job.download("glb", tmp_path / "again.glb")
    assert caught.value.reason == "DOWNLOAD_DIGEST"
    assert names(tmp_path) == ["mesh.glb"]
    await job.download("glb", tmp_path / "again.glb")


async def test_calls_are_repeated_and_charged_once(
    line: tuple[Line, str], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, url = line
    made: dict[str, list[str]] = {"create_session": [], "create_job": []}

    def losing(name: str, id_of: str) -> None:
        """The first call's work is done, and its answer is lost."""
        real = getattr(gateway.studio, name)

        async def call(*given: Any, **named: Any) -> Any:
            result = await real(*given, **named)
            made[name].append(getattr(result, id_of))
            if len(made[name]) == 1:
                await wire.cut()
            return result

        monkeypatch.setattr(gateway.studio, name, call)

    losing("create_session", "session_id")
    losing("create_job", "job_id")
    balance = (await gateway.studio.credits("local"))[0].available
    async with AsyncStudio(url=url) as studio:
        session = await studio.init(gateway.photo)
        job = await session.transform(background="a table", camera="dolly")
        await job.result()
    assert made == {"create_session": [session.info.session_id] * 2, "create_job": [job.job_id] * 2}
    assert balance - (await gateway.studio.credits("local"))[0].available == 80


async def test_a_deletion_whose_answer_is_lost_is_done(
    line: tuple[Line, str], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, url = line
    real, tries = gateway.studio.delete_session, 0

    async def delete(*given: Any) -> None:
        nonlocal tries
        tries += 1
        await real(*given)
        if tries == 1:
            await wire.cut()

    monkeypatch.setattr(gateway.studio, "delete_session", delete)
    async with AsyncStudio(url=url) as studio:
        session = await studio.init(gateway.photo)
        await session.delete()
        assert tries == 2
        with pytest.raises(NotFound):
            await session.delete()


async def test_a_connection_is_taken_up_again_after_a_long_silence(
    line: tuple[Line, str], gateway: Gateway, services: Services
) -> None:
    """Longer than the patience, which begins with the first failure."""
    wire, url = line
    hold = services["Segment"].held()
    async with AsyncStudio(url=url, patience=1.0) as studio:
        job = await started(studio, gateway.photo)
        watching = asyncio.create_task(job.result())
        await services["Segment"].begun()
        await asyncio.sleep(1.5)
        await wire.cut()
        await asyncio.sleep(0.1)
        hold.set()
        assert (await watching).status == "succeeded"


async def test_keys_and_limits(services: Services, scheme: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"auth": "keys", "rate_per_second": 0.5, "rate_burst": 1}
    async with running_gateway(tmp_path, services, **changes) as gateway:
        url = gateway.http if scheme == "http" else f"grpc://{gateway.address}"
        key = accounts.create_key(gateway.store.database, "acme")
        async with AsyncStudio("lsk_wrong", url) as stranger:
            with pytest.raises(Unauthenticated):
                await stranger.init(b"photo")
        async with AsyncStudio(key, url, patience=0) as poor:
            with pytest.raises(FailedPrecondition) as caught:
                await poor.init(b"photo")
            assert caught.value.reason == "INSUFFICIENT_CREDITS"
            with pytest.raises(ResourceExhausted) as limited:
                await poor.job(UNKNOWN).status()
            assert limited.value.reason == "RATE_LIMITED"
            assert limited.value.retry_after_s
        with gateway.store.database.writing() as connection:
            ledger.grant(connection, "acme", "test", 5)
        async with AsyncStudio(key, url) as patient:
            assert (await patient.init(b"photo")).info.credits_used == 5, "it waited for its turn"


async def test_nobody_there() -> None:
    for scheme in ("http", "grpc"):
        async with AsyncStudio(url=f"{scheme}://127.0.0.1:9", patience=0.3) as studio:
            with pytest.raises(Unavailable) as caught:
                await studio.init(b"photo")
            assert caught.value.reason == "CONNECTION_LOST"


def test_an_address_that_is_none() -> None:
    for url in ("127.0.0.1:8080", "ftp://host", "http://"):
        with pytest.raises(InvalidArgument):
            AsyncStudio(url=url)
