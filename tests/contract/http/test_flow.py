"""Two calls in, four artifacts out, over HTTP; and both edges tell the same story."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime

import pytest

from lensora.core.errors import FailedPrecondition
from lensora.studio.v1 import studio_pb2
from lensora.type.v1 import scene_pb2
from tests.contract.harness import Gateway, check_story, spec_of
from tests.contract.http.caller import STEPS, Caller, good, refused
from tests.contract.scripted import Services


async def test_init_says_what_is_in_the_photo(caller: Caller, services: Services) -> None:
    photo = bytes(range(256)) * 4000
    answer = good(await caller.init(photo, data={"max_objects": "2"}), 200)
    asked = services["DetectObjects"].calls[0].request
    assert (asked.image.size, asked.image.sha256) == (len(photo), hashlib.sha256(photo).hexdigest())
    assert asked.max_objects == 2
    assert list(answer) == ["session_id", "source_url", "objects", "credits_used", "detect_elapsed_ms"]
    assert uuid.UUID(answer["session_id"])
    assert answer["objects"][0] == {
        "index": 0,
        "label": "reflex camera",
        "category": "product",
        "bbox": [0.2, 0.1, 0.8, 0.9],
        "score": 1.0,
    }
    assert answer["objects"][-1]["category"] == "full_frame"
    assert answer["credits_used"] == 5
    assert answer["detect_elapsed_ms"] >= 0
    source = await caller.client.get(answer["source_url"])
    assert source.status_code == 200
    assert source.headers["content-type"] == "image/png"
    assert source.content.startswith(b"DetectObjects.photo"), "the normalised photo, not the upload"


async def test_a_job_from_a_photo_to_its_files(caller: Caller) -> None:
    accepted = await caller.start()
    assert list(accepted) == ["job_id", "status", "credits_used", "events_url"]
    assert (accepted["status"], accepted["credits_used"]) == ("queued", 75)
    story = await caller.story(accepted["events_url"])
    assert [number for number, _ in story] == [event["seq"] for _, event in story] == list(range(1, len(story) + 1))
    assert [event["progress"] for _, event in story] == sorted(event["progress"] for _, event in story)
    result = await caller.result(accepted["job_id"])
    assert story[-1][1]["job"] == result, "the last event carries the job"
    assert all("job" not in event for _, event in story[:-1])
    assert (result["status"], result["step"], result["progress"]) == ("succeeded", "done", 1.0)
    assert [step["name"] for step in result["steps"]] == STEPS
    for step in result["steps"]:
        assert step["state"] == "done"
        assert datetime.fromisoformat(step["started_at"]) <= datetime.fromisoformat(step["ended_at"])
    assert list(result["outputs"]) == ["video_url", "glb_url", "still_url", "cutout_url"]
    assert result["mesh"] == {
        "thin_axis_ratio": 0.5,
        "verdict": "volume",
        "watertight": True,
        "triangles": 12,
        "engine": "scripted",
        "method": "lathe",
        "front_yaw_degrees": 12.5,
    }
    assert result["camera"] == {"preset": "cinematic", "arc_degrees": 180.0, "clamped": False}
    assert len(result["crop_bbox"]) == 4
    assert (result["credits_used"], result["credits_refunded"], result["error"]) == (75, 0, None)
    for name, url in result["outputs"].items():
        file = await caller.client.get(url)
        assert file.content.lower().startswith(
            {"video_url": b"render.video", "glb_url": b"reconstruct.mesh"}.get(name, b"")
        )
        assert file.headers["etag"] == f'"{hashlib.sha256(file.content).hexdigest()}"'


async def test_transparent_offers_a_film_with_alpha(caller: Caller) -> None:
    result = await caller.make(background={"type": "transparent"})
    film = await caller.client.get(result["outputs"]["alpha_video_url"])
    assert (film.status_code, film.headers["content-type"]) == (200, "video/webm")


async def test_a_failure_names_step_code_and_sentence(caller: Caller, services: Services) -> None:
    services["Reconstruct"].error = FailedPrecondition("nothing solid can be made of it", reason="NO_SHAPE")
    accepted = await caller.start()
    last = (await caller.story(accepted["events_url"]))[-1][1]
    result = await caller.result(accepted["job_id"])
    assert (last["step"], last["state"], last["status"]) == ("done", "failed", "failed")
    assert result["error"] == {
        "step": "generating-3d",
        "code": "NO_SHAPE",
        "message": "nothing solid can be made of it",
    }
    assert (result["status"], result["credits_refunded"], result["outputs"]) == ("failed", 75, None)


async def test_a_cancel_stops_the_work_and_refunds(caller: Caller, services: Services) -> None:
    services["Segment"].held()
    accepted = await caller.start()
    call = await services["Segment"].begun()
    path = f"/v1/studio/jobs/{accepted['job_id']}/cancel"
    for _ in range(2):
        result = good(await caller.client.post(path), 200)
        assert (result["status"], result["credits_refunded"]) == ("cancelled", 75)
    assert (await call.gone()).cancelled


async def test_credits_are_told_with_their_entries(caller: Caller) -> None:
    before = good(await caller.client.get("/v1/credits"), 200)
    result = await caller.make()
    after = good(await caller.client.get("/v1/credits"), 200)
    assert after["balance"] == before["balance"] - 80
    told = [(entry["id"], entry["kind"], entry["available"], entry["held"]) for entry in after["entries"][:3]]
    assert told == [
        (f"settle:{result['job_id']}", "capture", 0, -75),
        (f"hold:{result['job_id']}", "hold", -75, 75),
        (f"init:{result['session_id']}", "init", -5, 0),
    ]


async def test_both_edges_tell_the_same_story(gateway: Gateway, caller: Caller) -> None:
    accepted = await caller.start(seed=7)
    over_http = await caller.story(accepted["events_url"])
    over_grpc = await gateway.story(accepted["job_id"])
    check_story(over_grpc)

    def name(enum: type, prefix: str, number: int) -> str:
        return enum.Name(number).removeprefix(f"{prefix}_").lower().replace("_", "-")  # type: ignore[attr-defined, no-any-return]

    told = [
        (
            item.event.seq,
            item.event.time.ToDatetime().isoformat(),
            name(studio_pb2.Step, "STEP", item.event.step),
            name(studio_pb2.StepState, "STEP_STATE", item.event.state),
            name(studio_pb2.JobStatus, "JOB_STATUS", item.event.status),
            round(item.event.fraction, 4),
            round(item.event.progress, 4),
        )
        for item in over_grpc
    ]
    fields = ("step", "state", "status", "fraction", "progress")
    assert [
        (number, event["time"].removesuffix("Z"), *(event[field] for field in fields)) for number, event in over_http
    ] == told
    job = over_grpc[-1].job
    assert job.events_url.startswith(f"{gateway.http}/v1/studio/jobs/{job.job_id}/events?")
    assert await caller.story(job.events_url) == over_http
    urls = {artifact.url for artifact in job.artifacts}
    assert urls == set(over_http[-1][1]["job"]["outputs"].values()), "and give the same addresses"


async def test_what_one_edge_began_the_other_goes_on_with(gateway: Gateway, caller: Caller) -> None:
    session = await gateway.upload()
    assert (await caller.client.get(session.source_url)).status_code == 200
    accepted = good(await caller.transform(session.session_id), 202)
    assert (await gateway.finished(accepted["job_id"])).status == studio_pb2.JOB_STATUS_SUCCEEDED
    other = await gateway.create(spec_of(await caller.session(), camera_preset=scene_pb2.CAMERA_PRESET_DOLLY))
    await gateway.finished(other.job_id)
    assert (await caller.result(other.job_id))["camera"]["preset"] == "dolly"


@pytest.mark.parametrize("call", ["init", "transform"])
async def test_a_repeat_with_the_same_key_makes_nothing_new(caller: Caller, call: str) -> None:
    session_id = await caller.session()

    async def once(number: int, key: str = "") -> tuple[int, str]:
        headers = {"Idempotency-Key": key or f"{call}-{session_id}"}
        if call == "init":
            response = await caller.init(b"photo %d" % number, headers=headers)
        else:
            response = await caller.transform(session_id, headers, seed=number)
        body = response.json()
        return response.status_code, str(body.get("session_id") or body.get("job_id") or body["code"])

    before = good(await caller.client.get("/v1/credits"), 200)["balance"]
    first, again, other = await once(1), await once(1), await once(2)
    assert first == again
    assert other == (409, "IDEMPOTENCY_KEY_REUSED")
    assert (await once(2, "another key"))[1] != first[1]
    after = good(await caller.client.get("/v1/credits"), 200)["balance"]
    assert before - after == 2 * (5 if call == "init" else 75), "charged once a key"


@pytest.mark.parametrize("key", ["x" * 256, "tab\tbed"])
async def test_an_idempotency_key_has_rules(caller: Caller, key: str) -> None:
    session_id = await caller.session()
    for response in (
        await caller.init(headers={"Idempotency-Key": key}),
        await caller.transform(session_id, {"Idempotency-Key": key}),
    ):
        refused(response, 422, "INVALID_ARGUMENT", "Idempotency-Key")
