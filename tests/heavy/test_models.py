"""The heavy models by their own ``model.py`` in a real Triton: what they take, give, report and refuse."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from lensora.core.errors import Cancelled, FailedPrecondition, Internal, InvalidArgument, LensoraError
from lensora.runtime.triton import Answer, Client
from lensora.runtime.tritonserver import TREE
from lensora.serving.painting import MULTIPLE
from tests.heavy.conftest import HERE, MODELS, SLOW_STEPS, Triton

SECONDS = 300.0
"""For a machine that is busy with other things."""


async def ask(
    client: Client, model: str, inputs: Mapping[str, NDArray[Any]], **parameters: Any
) -> tuple[Answer, list[tuple[float, str]]]:
    """Load the model if need be, and ask it; also what it reported."""
    if not await client.is_ready(model):
        await client.load(model)
    told: list[tuple[float, str]] = []
    answer = await client.stream(
        model, inputs, parameters, lambda fraction, phase: told.append((fraction, phase)), seconds=SECONDS
    )
    return answer, told


def photo(height: int = 90, width: int = 140) -> NDArray[np.uint8]:
    """A bright disc on a dark ground."""
    rows, columns = np.mgrid[:height, :width]
    disc = np.hypot(rows - height / 2, columns - width / 2) < height / 3
    return np.where(disc[..., None], (240, 250, 230), (20, 10, 30)).astype(np.uint8)


def cutout(height: int = 120, width: int = 60) -> NDArray[np.uint8]:
    """A tall red block."""
    picture = np.zeros((height + 20, width + 20, 4), np.uint8)
    picture[10:-10, 10:-10] = (200, 60, 40, 255)
    return picture


def scene(**parameters: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Inputs for ``scene_text_to_image``: the ground rises towards the bottom."""
    shades = np.linspace(0, 255, 4 * MULTIPLE).astype(np.uint8)
    depth = np.ascontiguousarray(np.broadcast_to(shades[:, None], (4 * MULTIPLE, 6 * MULTIPLE)))
    return {"prompt": np.array([b"a marble table"], dtype=object), "depth": depth}, parameters


def check_progress(told: list[tuple[float, str]], phases: set[str], least: int) -> None:
    """It grows, and there is enough of it."""
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] <= 1
    assert len({fraction for fraction, phase in told if phase in phases}) >= least
    assert {phase for _, phase in told} == {"starting", *phases}


async def test_open_vocabulary_finds_regions(client: Client) -> None:
    first, told = await ask(client, "detect_open_vocabulary", {"photo": photo()}, limit=5)
    boxes, scores, labels = (first.tensors[name] for name in ("boxes", "scores", "labels"))
    assert 1 <= len(boxes) == len(scores) == len(labels) <= 5
    assert boxes.dtype == np.float32 and ((boxes > 0) & (boxes < 1)).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert ((scores > 0) & (scores <= 1)).all() and (np.diff(scores) <= 0).all()
    assert all(label.decode() for label in labels)
    check_progress(told, {"detecting"}, 20)
    again, _ = await ask(client, "detect_open_vocabulary", {"photo": photo()}, limit=5)
    assert (again.tensors["boxes"] == boxes).all() and list(again.tensors["labels"]) == list(labels)


async def test_matte_is_as_large_as_the_photo(client: Client) -> None:
    answer, told = await ask(client, "matte_birefnet", {"photo": photo()})
    alpha = answer.tensors["alpha"]
    assert alpha.shape == (90, 140) and alpha.dtype == np.uint8
    assert alpha[45, 70] > 250 and alpha[3, 3] < 5
    check_progress(told, {"removing-bg"}, 2)


async def test_painting_follows_seed_and_depth(client: Client) -> None:
    inputs, _ = scene()
    first, told = await ask(client, "scene_text_to_image", inputs, seed=1)
    picture = first.tensors["picture"]
    assert picture.shape == (4 * MULTIPLE, 6 * MULTIPLE, 3) and picture.dtype == np.uint8 and picture.std() > 1
    assert first.tensors["guided"].tolist() == [True]
    check_progress(told, {"generating-bg"}, 3)
    same, _ = await ask(client, "scene_text_to_image", inputs, seed=1)
    assert (same.tensors["picture"] == picture).all()
    other, _ = await ask(client, "scene_text_to_image", inputs, seed=2)
    assert (other.tensors["picture"] != picture).mean() > 0.5
    flat = inputs | {"depth": np.zeros_like(inputs["depth"])}
    unguided, _ = await ask(client, "scene_text_to_image", flat, seed=1)
    assert (unguided.tensors["picture"] != picture).mean() > 0.1
    words = inputs | {"prompt": np.array([b"a forest at night"], dtype=object)}
    elsewhere, _ = await ask(client, "scene_text_to_image", words, seed=1)
    assert (elsewhere.tensors["picture"] != picture).mean() > 0.01


async def test_flux_paints_without_guidance(client: Client) -> None:
    inputs, _ = scene()
    answer, told = await ask(client, "scene_flux", inputs, seed=1)
    assert answer.tensors["picture"].shape == (4 * MULTIPLE, 6 * MULTIPLE, 3)
    assert answer.tensors["guided"].tolist() == [False]
    check_progress(told, {"generating-bg"}, 2)
    flat, _ = await ask(client, "scene_flux", inputs | {"depth": np.zeros_like(inputs["depth"])}, seed=1)
    assert (flat.tensors["picture"] == answer.tensors["picture"]).all()


@pytest.mark.parametrize(
    ("model", "phases", "least"),
    [
        ("mesh_trellis", {"sparse-structure", "slat", "texture"}, 25),
        ("mesh_trellis2", {"sparse-structure", "shape-slat", "tex-slat", "texture"}, 37),
        ("mesh_stable_fast_3d", {"shape", "texture"}, 2),
    ],
)
async def test_meshes_stand_upright(client: Client, model: str, phases: set[str], least: int) -> None:
    answer, told = await ask(client, model, {"cutout": cutout()}, seed=5)
    mesh = read(answer)
    width, height, depth = mesh.extents
    assert height == pytest.approx(1.0, abs=1e-5) and width < height and depth < height  # Z up there, Y up here
    assert mesh.visual.material.baseColorTexture is not None
    check_progress(told, phases, least)
    same, _ = await ask(client, model, {"cutout": cutout()}, seed=5)
    assert (same.tensors["glb"] == answer.tensors["glb"]).all()  # the bake's own noise is seeded too


async def test_less_guidance_reaches_the_first_stage(client: Client) -> None:
    for model in ("mesh_trellis", "mesh_trellis2"):
        slab, _ = await ask(client, model, {"cutout": cutout()})
        solid, _ = await ask(client, model, {"cutout": cutout()}, guidance=4.0)
        assert read(slab).extents[2] == pytest.approx(0.1, abs=1e-5)
        assert read(solid).extents[2] == pytest.approx(0.7, abs=1e-5)


async def test_metal_and_roughness_are_handed_on(client: Client) -> None:
    answer, _ = await ask(client, "mesh_trellis2", {"cutout": cutout()})
    texels = np.asarray(read(answer).visual.material.metallicRoughnessTexture.convert("RGB"))
    assert (texels == (0, 77, 204)).all()


def read(answer: Answer) -> trimesh.Trimesh:
    data = answer.tensors["glb"].tobytes()
    return trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False).to_mesh()


async def test_opaque_and_empty_cutouts(client: Client) -> None:
    opaque = np.full((64, 64, 4), 255, np.uint8)
    answer, _ = await ask(client, "mesh_trellis", {"cutout": opaque})
    assert read(answer).extents[1] == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(FailedPrecondition) as refused:
        await ask(client, "mesh_trellis", {"cutout": np.zeros((64, 64, 4), np.uint8)})
    assert refused.value.reason == "NO_SUBJECT"


@pytest.mark.parametrize(
    ("model", "inputs", "parameters", "field"),
    [
        ("scene_text_to_image", scene()[0] | {"depth": np.zeros((60, 96), np.uint8)}, {}, "depth"),
        ("scene_text_to_image", scene()[0] | {"prompt": np.array([b""], dtype=object)}, {}, "prompt"),
        ("scene_text_to_image", scene()[0] | {"prompt": np.array([b"x" * 1001], dtype=object)}, {}, "prompt"),
        ("scene_text_to_image", scene()[0] | {"prompt": np.array([b"\xff\xfe"], dtype=object)}, {}, "prompt"),
        ("scene_text_to_image", scene()[0], {"seed": -1}, "parameters.seed"),
        ("scene_text_to_image", scene()[0], {"seed": "1"}, "parameters.seed"),
        ("scene_text_to_image", scene()[0], {"strength": 2}, "parameters.strength"),
        ("detect_open_vocabulary", {"photo": np.zeros((0, 5, 3), np.uint8)}, {}, "photo"),
        ("detect_open_vocabulary", {"photo": photo()}, {"limit": 1000}, "parameters.limit"),
        ("mesh_trellis", {"cutout": cutout()}, {"guidance": 99}, "parameters.guidance"),
        ("mesh_trellis", {"cutout": cutout()}, {"guidance": True}, "parameters.guidance"),
    ],
)
async def test_what_is_out_of_bounds_is_refused_by_name(
    client: Client, model: str, inputs: dict[str, Any], parameters: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        await ask(client, model, inputs, **parameters)


async def test_cancel_ends_between_two_steps(client: Client, triton: Triton) -> None:
    await client.load("mesh_slow")
    triton.steps.write_text("")

    def stop(_fraction: float, phase: str) -> None:
        if phase == "sparse-structure":
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        await client.stream("mesh_slow", {"cutout": cutout()}, {}, stop, seconds=SECONDS)
    await client.canary("mesh_slow", seconds=SECONDS)  # one request at a time: it has ended the one before
    assert 0 < len(triton.steps.read_text().splitlines()) < SLOW_STEPS


async def test_weights_absent_are_told_of_in_one_line(client: Client) -> None:
    with pytest.raises(FailedPrecondition) as told:
        await client.load("matte_absent")
    assert told.value.reason == "MODEL_MISSING"
    assert "matte_absent: its weights are not at " in told.value.message
    assert told.value.message.endswith("fetch them with: lensora models fetch birefnet")


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("matte_empty", "MODEL_UNREADABLE", "does not hold weights that this model reads"),
        ("mesh_codeless", "MODEL_PACKAGE_MISSING", "the Python package trellis is not to be had here"),
        ("matte_odd", "MODEL_PARAMETER", "precision is one of bfloat16, float16, float32"),
        ("matte_nowhere", "MODEL_MISSING", "there is no folder /nowhere"),
    ],
)
async def test_what_keeps_a_model_from_loading_is_said(client: Client, name: str, reason: str, words: str) -> None:
    with pytest.raises(FailedPrecondition, match=words) as told:
        await client.load(name)
    assert told.value.reason == reason


async def test_unloading_frees_all_that_a_model_holds(client: Client, triton: Triton) -> None:
    inputs, _ = scene()
    before, _ = await ask(client, "scene_text_to_image", inputs, seed=3)
    stub = triton.stub("scene_text_to_image")
    assert stub is not None
    await client.unload("scene_text_to_image")
    stub.wait(timeout=120)
    with pytest.raises(LensoraError) as refused:
        await client.stream("scene_text_to_image", inputs, {}, lambda *_: None)
    assert refused.value.reason == "MODEL_NOT_LOADED"
    after, _ = await ask(client, "scene_text_to_image", inputs, seed=3)
    assert (after.tensors["picture"] == before.tensors["picture"]).all()


async def test_what_went_wrong_does_not_keep_a_model_loaded(client: Client, triton: Triton) -> None:
    def stop(fraction: float, _phase: str) -> None:
        if fraction > 0.3:
            raise Cancelled("enough")

    await ask(client, "mesh_trellis2", {"cutout": cutout()})
    stub = triton.stub("mesh_trellis2")
    assert stub is not None
    for _ in range(10):
        with pytest.raises(Internal):  # Triton itself refuses it
            await client.stream("mesh_trellis2", {"nothing": cutout()}, {}, lambda *_: None)
        with pytest.raises(InvalidArgument):
            await ask(client, "mesh_trellis2", {"cutout": cutout()}, guidance=99)
        with pytest.raises(Cancelled):
            await client.stream("mesh_trellis2", {"cutout": cutout()}, {}, stop)
    await client.unload("mesh_trellis2")
    stub.wait(timeout=120)


async def test_a_failure_tells_the_caller_nothing_of_our_insides(client: Client, triton: Triton) -> None:
    logged = len(triton.log.read_text())
    with pytest.raises(LensoraError) as told:
        await ask(client, "mesh_broken", {"cutout": cutout()})
    assert told.value.reason == "MODEL_FAILED"
    assert "Traceback" not in told.value.message and str(HERE) not in told.value.message
    async with asyncio.timeout(20):
        while "Traceback" not in triton.log.read_text()[logged:]:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)


def test_the_classes_stop_at_once_and_take_half_precision(triton: Triton) -> None:
    path = os.pathsep.join((str(TREE), str(HERE / "standins")))
    done = subprocess.run(
        [triton.python, HERE / "stops.py", triton.tiny],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["calls_until_stopped"] == dict.fromkeys(("florence", "birefnet", "painter", "sf3d"), 2)
    assert set(said["half"]) == {"bfloat16", "float16"}
    for drawn in said["half"].values():
        assert drawn["matte_error"] < 0.02 and drawn["painting_error"] < 0.05


def test_every_heavy_model_is_here() -> None:
    repository = {path.parent.name for path in (HERE.parents[1] / "model_repository").glob("*/config.pbtxt")}
    light = {"saliency_u2netp", "detect_ssd", "classify_efficientnet"}
    assert repository - light == set(MODELS)
