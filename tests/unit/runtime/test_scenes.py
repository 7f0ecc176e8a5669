"""A scene survives the wire: numbers and plate exactly, light to half precision; a hostile one names its field."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gateway.blobs import BlobStore, open_store
from lensora.core.blobs import INLINE_LIMIT, BlobAccess
from lensora.core.errors import InvalidArgument
from lensora.core.exr import encode_exr
from lensora.core.imaging import encode_png
from lensora.core.scene import Camera, Ground, KeyLight, Scene
from lensora.runtime.runners import ThreadRunner
from lensora.runtime.scenes import scene_from_proto, scene_to_proto
from lensora.runtime.settings import ServiceSettings
from lensora.runtime.stage import Stage
from lensora.type.v1 import blob_pb2, scene_pb2


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return open_store("", tmp_path / "blobs", 60.0)


@pytest.fixture
def stage(store: BlobStore) -> Stage:
    runner = ThreadRunner("toy", ServiceSettings(), "toy_engines")
    return Stage(runner, BlobAccess(store.prefix))


def scene(width: int = 64, height: int = 36, light: int = 16) -> Scene:
    random = np.random.default_rng(0)
    direction = np.array([0.3, 0.8, 0.4])
    x, y, z = (direction / np.linalg.norm(direction)).tolist()
    return Scene(
        name="marble-countertop",
        plate=random.integers(0, 256, (height, width, 3), np.uint8),
        environment=np.asarray(10.0 ** random.uniform(-3, 3, (light, 2 * light, 3)), np.float32),
        key_light=KeyLight((x, y, z), (3.0, 2.9, 2.7), 5.0),
        ground=Ground((0.61, 0.6, 0.58), 0.35),
        camera=Camera((0.1, 0.52, 1.7), (0.0, 0.21, 0.0), 31.7),
        subject_height=0.43,
        subject_width=0.61,
        focus_distance=1.72,
        exposure=0.9,
    )


def same(one: Scene, other: Scene) -> bool:
    assert np.array_equal(one.plate, other.plate)
    assert np.array_equal(one.environment.astype(np.float16), other.environment.astype(np.float16))
    names = ("name", "key_light", "ground", "camera", "subject_height", "subject_width", "focus_distance", "exposure")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def no_target() -> blob_pb2.BlobTarget:
    return blob_pb2.BlobTarget()


def test_a_small_scene_travels_inline(stage: Stage) -> None:
    made = scene()
    wire = scene_to_proto(made, stage, no_target(), no_target())
    assert wire.plate.WhichOneof("source") == wire.environment.WhichOneof("source") == "inline"
    assert (wire.plate.media_type, wire.environment.media_type) == ("image/png", "image/x-exr")
    wire = scene_pb2.Scene.FromString(wire.SerializeToString())
    back = scene_from_proto(wire, stage, "scene")
    assert same(made, back)
    again = scene_to_proto(back, stage, no_target(), no_target())
    assert again == wire, "no generation loss after the first"


def test_a_large_scene_travels_by_its_targets(stage: Stage, store: BlobStore) -> None:
    made = scene(640, 360, 256)
    plate, environment = (blob_pb2.BlobTarget(url=store.new_target()) for _ in range(2))
    wire = scene_to_proto(made, stage, plate, environment)
    assert wire.plate.url == plate.url and wire.environment.url == environment.url
    assert wire.plate.size > INLINE_LIMIT and wire.environment.size > INLINE_LIMIT
    assert same(made, scene_from_proto(wire, stage, "scene"))


def test_a_large_scene_needs_its_targets(stage: Stage, store: BlobStore) -> None:
    with pytest.raises(InvalidArgument) as refused:
        scene_to_proto(scene(640, 360), stage, no_target(), no_target())
    assert refused.value.violations[0].field == "plate_target"
    with pytest.raises(InvalidArgument) as refused:
        scene_to_proto(scene(light=256), stage, blob_pb2.BlobTarget(url=store.new_target()), no_target())
    assert refused.value.violations[0].field == "environment_target"


Change = Callable[[scene_pb2.Scene], object]


def inline(data: bytes) -> blob_pb2.Blob:
    return blob_pb2.Blob(inline=data)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda wire: wire.ClearField("backdrop"), "scene.backdrop"),
        (lambda wire: wire.panorama.CopyFrom(inline(b"x")), "scene.backdrop"),
        (lambda wire: wire.ClearField("environment"), "scene.environment"),
        (lambda wire: wire.plate.CopyFrom(inline(b"x")), "scene.plate"),
        (lambda wire: wire.plate.CopyFrom(inline(encode_png(np.zeros((8, 8, 4), np.uint8)))), "scene.plate"),
        (lambda wire: wire.environment.CopyFrom(inline(b"x")), "scene.environment"),
        (
            lambda wire: wire.environment.CopyFrom(inline(encode_exr(np.full((8, 16, 3), np.nan, np.float32)))),
            "scene.environment",
        ),
        (
            lambda wire: wire.environment.CopyFrom(inline(encode_exr(np.zeros((8, 8, 3), np.float32)))),
            "scene.environment",
        ),
        (lambda wire: wire.ClearField("camera"), "scene"),
        (lambda wire: setattr(wire.camera, "vertical_fov_degrees", float("nan")), "scene"),
        (lambda wire: setattr(wire.key_light.direction, "x", float("inf")), "scene"),
        (lambda wire: wire.ClearField("key_light"), "scene"),
        (lambda wire: setattr(wire.key_light.irradiance, "y", float("nan")), "scene"),
        (lambda wire: setattr(wire.ground, "roughness", 2.0), "scene"),
        (lambda wire: setattr(wire, "exposure", 0.0), "scene"),
        (lambda wire: setattr(wire, "subject_height", float("inf")), "scene"),
    ],
)
def test_a_hostile_scene_is_refused_by_name(stage: Stage, change: Change, field: str) -> None:
    wire = scene_to_proto(scene(), stage, no_target(), no_target())
    change(wire)
    with pytest.raises(InvalidArgument) as refused:
        scene_from_proto(wire, stage, "scene")
    assert refused.value.violations[0].field == field


async def test_encoding_and_decoding_bear_threads(stage: Stage) -> None:
    made = scene()

    def there_and_back() -> bool:
        return same(made, scene_from_proto(scene_to_proto(made, stage, no_target(), no_target()), stage, "scene"))

    assert all(await asyncio.gather(*(asyncio.to_thread(there_and_back) for _ in range(8))))
