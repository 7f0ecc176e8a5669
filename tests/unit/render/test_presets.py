"""What the camera presets show, drawn by the real passes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.engines import NullContext
from lensora.core.imaging import encode_png, srgb_to_linear
from services.render.core.view import ground_matrix
from services.render.engine import CameraPreset, RenderRequest
from services.render.engines.embedded import EmbeddedEngine

Picture = NDArray[np.uint8]
Shoot = Callable[..., list[Picture]]

_RED, _GREEN, _BLUE = (0.8, 0.03, 0.03), (0.03, 0.8, 0.03), (0.03, 0.03, 0.8)
_SIDES = {"+x": _GREEN, "+z": _RED, "-x": _BLUE}
"""Seen by who faces it, the subject's own left, +X, is on the right."""


def _center(picture: Picture) -> NDArray[np.float64]:
    height, width = picture.shape[:2]
    middle = picture[height // 2 - 10 : height // 2 + 10, width // 2 - 5 : width // 2 + 5]
    return np.asarray(middle.reshape(-1, 3).mean(axis=0))


def _marked(scene_plate: Picture, marks: NDArray[np.float64]) -> Picture:
    """The plate with a blue spot at each (n, 2) pixel."""
    plate = scene_plate.copy()
    for column, row in marks.round().astype(int):
        plate[row - 2 : row + 2, column - 2 : column + 2] = (0, 0, 255)
    return plate


def _extent(mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Width and height of what is set, and its last row."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(np.ptp(columns) + 1), float(np.ptp(rows) + 1), float(rows[-1] + 1)


def test_a_dolly_grows_the_subject_and_keeps_its_foot_on_its_place(kit: SimpleNamespace, shoot: Shoot) -> None:
    plain = kit.make_scene((640, 480), key=0.0)
    mark = plain.camera.project(np.array([[-0.22, 0.0, 0.15]]), 640, 480)
    scene = kit.make_scene((640, 480), key=0.0, plate=_marked(plain.plate, mark))
    pictures = shoot(kit.make_glb(kit.box(1, 1, 1, {"+z": _RED})), scene, "dolly", [0, 6, 12, 18, 24])
    extents, marks = [], []
    for picture in pictures:
        red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
        extents.append(_extent((red > 2 * green) & (red > 2 * blue)))
        marks.append(np.argwhere(blue > red + 60).mean(axis=0)[0] + 0.5)
    widths, heights, feet = np.array(extents).T
    assert (np.diff(widths) > 2).all()
    assert (np.diff(heights) > 2).all()
    assert widths[-1] / widths[0] == pytest.approx(1.35, abs=0.02)
    assert heights[-1] / heights[0] == pytest.approx(1.35, abs=0.02)
    apart = (feet - np.array(marks)) / (widths / widths[0])
    np.testing.assert_allclose(apart, apart[0], atol=1.0)


def test_the_shadow_stays_attached_in_a_dolly(kit: SimpleNamespace, shoot: Shoot) -> None:
    grey = np.full((480, 640, 3), 150, np.uint8)
    scene = kit.make_scene((640, 480), key=6.0, plate=grey)
    (last,) = shoot(kit.make_glb(kit.box(1, 1, 1, {"+z": _RED})), scene, "dolly", [24])
    half = scene.subject_height / 2
    ground = np.array([[0.0, 0.0, half], [half + 0.03, 0.0, -0.02], [half + 0.1, 0.0, -0.02], [-half - 0.1, 0.0, 0.1]])
    foot, *places = scene.camera.project(ground, 640, 480)
    red = last[:, 320, 0] > 2 * last[:, 320, 1].astype(int)
    foot_now = np.array([320.0, np.flatnonzero(red)[-1] + 1])
    light = []
    for place in places:
        column, row = (foot_now + 1.35 * (place - foot)).round().astype(int)
        light.append(srgb_to_linear(last[row - 1 : row + 2, column - 1 : column + 2]).mean())
    beside, further, towards = np.array(light) / srgb_to_linear(grey[:1, :1]).mean()
    assert beside < 0.45, "dark where the box touches the ground"
    assert beside <= further + 0.02
    assert towards > 0.85, "no cast shadow on the side of the light"


def test_a_magnified_plate_stays_sharp(kit: SimpleNamespace, shoot: Shoot) -> None:
    """Stripes eight pixels wide keep their contrast at 1.35 times; bilinear sampling would lose a tenth of it."""
    stripes = 128 + 40 * np.sin(np.arange(320) * 2 * np.pi / 8)
    plate = np.repeat(np.repeat(stripes.astype(np.uint8)[None, :, None], 240, 0), 3, 2)
    scene = kit.make_scene((320, 240), plate=plate)
    first, last = shoot(kit.make_glb(kit.box(1, 1, 1)), scene, "dolly", [0, 24])
    assert last[8:24].std() > 0.97 * first[8:24].std()


def test_the_cinematic_arc_goes_from_left_over_the_front_to_right(kit: SimpleNamespace, shoot: Shoot) -> None:
    glb = kit.make_glb(kit.box(1, 1, 1, _SIDES))
    left, front, right = (_center(p) for p in shoot(glb, kit.make_scene((320, 240)), "cinematic", [0, 12, 24]))
    assert left[1] > 2 * max(left[0], left[2]), "its own left side"
    assert front[0] > 2 * max(front[1], front[2])
    assert right[2] > 2 * max(right[0], right[1])


def test_cinematic_blurs_what_is_far_and_not_what_is_in_focus(kit: SimpleNamespace, shoot: Shoot) -> None:
    column = np.arange(320)
    stripes = np.where(column // 4 % 2, 190, 90).astype(np.uint8)
    scene = kit.make_scene((320, 240), plate=np.repeat(np.repeat(stripes[None, :, None], 240, 0), 3, 2))
    glb = kit.make_glb(kit.box(0.4, 1, 0.4))
    (sharp,), (soft,) = (shoot(glb, scene, preset, [0]) for preset in ("turntable", "cinematic"))
    pixels = np.column_stack([np.zeros(240), np.arange(240) + 0.5, np.ones(240)])
    depth = 1 / (pixels @ ground_matrix(scene.camera, (320, 240)).T)[:, 2]
    focused = int(np.abs(depth - scene.focus_distance + 0.03).argmin())

    def contrast(picture: Picture, row: int) -> float:
        return float(picture[row - 2 : row + 3, 8:60, 1].std())

    assert contrast(soft, 8) < 0.4 * contrast(sharp, 8), "above the horizon"
    assert contrast(soft, focused) > 0.9 * contrast(sharp, focused)
    assert contrast(soft, 230) < contrast(soft, focused), "the foreground is soft as well"


def test_the_subject_itself_has_depth_of_field(kit: SimpleNamespace, shoot: Shoot) -> None:
    """Of two white posts the one far behind the plane in focus has the wider edge."""
    posts = []
    for x, z in ((-0.5, 0.0), (0.5, -4.0), (0.5, 4.0)):
        for part in kit.box(0.15, 1, 0.15):
            part.positions = part.positions + np.array((x, 0.0, z))
            posts.append(part)
    scene = kit.make_scene((480, 360), plate=np.zeros((360, 480, 3), np.uint8), key=0.0, exposure=2.0)
    glb = kit.make_glb(posts)

    def partial_pixels(picture: Picture) -> int:
        far = picture[:, 240:, 1].astype(int)
        top = np.flatnonzero((far > 60).any(axis=1))[0] + 9
        row = far[top]
        return int(((row > 0.05 * row.max()) & (row < 0.9 * row.max())).sum())

    (sharp,) = shoot(glb, scene, "dolly", [0])
    (soft,) = shoot(glb, scene, "cinematic", [12])
    assert partial_pixels(soft) >= partial_pixels(sharp) + 2


@pytest.mark.parametrize(
    ("preset", "depth", "report"),
    [
        ("dolly", 0.9, (0.0, False)),
        ("dolly", 0.1, (0.0, False)),
        ("cinematic", 0.9, (180.0, False)),
        ("cinematic", 0.1, (120.0, True)),
    ],
)
def test_arcs_are_reported_and_slabs_clamped(
    kit: SimpleNamespace, engine: EmbeddedEngine, preset: CameraPreset, depth: float, report: tuple[float, bool]
) -> None:
    glb = kit.make_glb(kit.box(1, 1, depth, {"+z": _RED, "-z": _BLUE}))
    request = RenderRequest(glb, kit.make_scene(), preset, 256, 256, duration_s=0.125)
    result = engine.run(request, NullContext())
    assert (result.arc_degrees, result.clamped) == report
    if depth == 0.1:
        for frame in kit.decode_film(result.video):
            center = frame[110:150, 123:133].reshape(-1, 3).mean(axis=0)
            assert center[0] > 1.5 * center[2], "the front is never lost"


def test_a_bottle_may_take_the_whole_cinematic_arc(kit: SimpleNamespace, engine: EmbeddedEngine) -> None:
    request = RenderRequest(
        kit.make_glb(kit.box(0.2, 1, 0.2)), kit.make_scene(), "cinematic", 256, 256, duration_s=0.125
    )
    result = engine.run(request, NullContext())
    assert (result.arc_degrees, result.clamped) == (180.0, False)


@pytest.mark.parametrize(("name", "number"), [("dolly", 24), ("cinematic", 4)])
def test_golden_presets(
    kit: SimpleNamespace, shoot: Shoot, assert_golden: Callable[[str, Picture], None], name: str, number: int
) -> None:
    row, column = np.mgrid[0:240, 0:320]
    checks = np.where(((row // 8 + column // 8) % 2)[..., None], (150, 165, 190), (90, 95, 110)).astype(np.uint8)
    label = np.where((column // 10 % 2)[..., None], (190, 70, 50), (225, 215, 195)).astype(np.uint8)
    paint = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 0.3}
    ball = kit.sphere({"pbrMetallicRoughness": paint})
    (picture,) = shoot(
        kit.make_glb([ball], [encode_png(label)]), kit.make_scene((320, 240), plate=checks), name, [number]
    )
    assert_golden(name, picture)
