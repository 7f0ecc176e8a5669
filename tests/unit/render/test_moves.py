"""The geometry of the camera presets: turns, zooms and the lens, without drawing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from services.render.core.arc import eased, half_turn, standing
from services.render.core.lens import BLUR_AT_INFINITY, SAMPLES, Lens, cinema_lens
from services.render.core.moves import DOLLY_ZOOM, PUSH_IN, Move, camera_move
from services.render.core.placement import place
from services.render.core.view import camera_matrix
from services.render.core.zoom import MARGIN, Zoom, closest_zoom
from services.render.engine import CameraPreset

SIZE = (640, 360)


def _move(kit: SimpleNamespace, preset: CameraPreset, sides: tuple[float, float, float] = (1, 1, 1)) -> Move:
    scene = kit.make_scene(SIZE)
    vertices = np.concatenate([part.positions for part in kit.box(*sides)]).astype(float)
    return camera_move(preset, 25, scene, place(vertices, scene, 0.0), vertices, slab=False)


def _magnified(zoom: Zoom, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    homogeneous = np.column_stack([pixels, np.ones(len(pixels))]) @ zoom.pixel_matrix().T
    return np.asarray(homogeneous[:, :2])


def test_easing_starts_and_ends_at_rest() -> None:
    way = eased(121)
    assert (way[0], way[60], way[-1]) == (0.0, 0.5, 1.0)
    steps = np.diff(way)
    assert (steps > 0).all()
    assert max(steps[0], steps[-1]) < 0.05 * steps.max()
    assert eased(1).tolist() == [0.0]


def test_a_half_turn_has_its_front_half_way() -> None:
    arc = half_turn(121, slab=False)
    assert (arc.degrees, arc.clamped) == (180.0, False)
    assert arc.yaws_degrees[[0, 60, -1]].tolist() == [-90.0, 0.0, 90.0]
    assert (np.diff(arc.yaws_degrees) > 0).all()


def test_a_slabs_half_turn_is_one_swing_of_the_rocking_arc() -> None:
    arc = half_turn(121, slab=True)
    assert (arc.degrees, arc.clamped) == (120.0, True)
    assert arc.yaws_degrees[[0, 60, -1]].tolist() == [-60.0, 0.0, 60.0]


def test_standing_still_is_no_arc() -> None:
    arc = standing(5)
    assert (arc.degrees, arc.clamped, arc.yaws_degrees.tolist()) == (0.0, False, [0.0] * 5)


@pytest.mark.parametrize(("preset", "reach"), [("turntable", 1.0), ("dolly", DOLLY_ZOOM), ("cinematic", PUSH_IN)])
def test_how_close_the_presets_come(kit: SimpleNamespace, preset: CameraPreset, reach: float) -> None:
    move = _move(kit, preset)
    assert move.closest.factor == reach
    assert move.closest.at(move.nearness[0]).factor == 1.0
    assert (move.lens.radius > 0) is (preset == "cinematic")


@pytest.mark.parametrize("preset", ["dolly", "cinematic"])
@pytest.mark.parametrize("sides", [(1, 1, 1), (1, 9, 1), (9, 1, 1), (1, 1, 9), (9, 9, 1)])
def test_no_view_loses_the_subject_or_shows_the_plates_border(
    kit: SimpleNamespace, preset: CameraPreset, sides: tuple[float, float, float]
) -> None:
    scene, move = kit.make_scene(SIZE), _move(kit, preset, sides)
    outline = scene.camera.project(move.outline, *SIZE)
    corners = np.array([(0.0, 0.0), SIZE])
    for nearness in (0.0, 0.3, 1.0):
        zoom = move.closest.at(nearness)
        shown = _magnified(zoom, outline)
        assert (shown >= np.array(SIZE) * MARGIN - 1e-6).all()
        assert (shown <= np.array(SIZE) * (1 - MARGIN) + 1e-6).all()
        covered = _magnified(zoom, corners)
        assert (covered[0] <= 1e-9).all()
        assert (covered[1] >= np.array(SIZE) - 1e-9).all()


def test_a_subject_that_fills_the_picture_gets_no_closer() -> None:
    zoom = closest_zoom(np.array([(10.0, 0.0), (90.0, 100.0)]), (100, 100), 1.35)
    assert zoom.factor == 1.0
    np.testing.assert_array_equal(zoom.pixel_matrix(), np.eye(3))


def test_clip_space_and_pixels_agree_on_the_zoom(kit: SimpleNamespace) -> None:
    camera, zoom = kit.make_scene(SIZE).camera, Zoom(1.3, (200.0, 300.0))
    points = np.array([[0.1, 0.0, 0.2], [-0.2, 0.3, -0.1]])
    matrix = zoom.clip_matrix(SIZE) @ camera_matrix(camera, points, SIZE, np.eye(4))
    clip = np.column_stack([points, np.ones(2)]) @ matrix.T
    pixels = (clip[:, :2] / clip[:, 3:] + 1) / 2 * SIZE
    np.testing.assert_allclose(pixels, _magnified(zoom, camera.project(points, *SIZE)), atol=1e-9)


def test_the_lens_keeps_its_plane_of_focus_and_spreads_the_rest_by_the_circle_of_confusion(
    kit: SimpleNamespace,
) -> None:
    camera, lens = kit.make_scene(SIZE).camera, Lens(0.02, 1.1)
    to_world = np.linalg.inv(camera.view_matrix())
    points = np.array([(0.1, 0.05, -depth, 1.0) for depth in (1.1, 0.8, 2.0)]) @ to_world.T
    seen = []
    for offset in lens.offsets():
        clip = points @ camera_matrix(camera, points[:, :3], SIZE, lens.shear(offset)).T
        seen.append((clip[:, :2] / clip[:, 3:] + 1) / 2 * SIZE)
    reach = np.linalg.norm(np.array(seen) - camera.project(points[:, :3], *SIZE), axis=2).max(axis=0)
    circles = lens.blur(camera, SIZE[1]) * np.abs(1 - lens.focus / np.array([1.1, 0.8, 2.0]))
    assert reach[0] < 1e-9
    assert lens.widest_blur(camera, points[:, :3], SIZE[1]) == pytest.approx(circles.max())
    np.testing.assert_allclose(reach[1:], circles[1:], rtol=0.15)


def test_a_pinhole_is_one_sample_that_changes_nothing() -> None:
    (offset,) = Lens(0.0, 1.0).offsets()
    np.testing.assert_array_equal(Lens(0.0, 1.0).shear(offset), np.eye(4))


def test_lens_samples_lie_evenly_in_the_opening() -> None:
    offsets = Lens(2.0, 1.0).offsets()
    assert len(offsets) == SAMPLES
    np.testing.assert_allclose(offsets.mean(axis=0), 0, atol=1e-12)
    assert np.linalg.norm(offsets, axis=1).max() < 2.3
    apart = np.linalg.norm(offsets[:, None] - offsets, axis=2)[np.triu_indices(SAMPLES, 1)]
    assert apart.min() > 2.0 / np.sqrt(SAMPLES)


@pytest.mark.parametrize("rows", [256, 720])
def test_the_cinema_lens_blurs_by_a_share_of_the_picture(kit: SimpleNamespace, rows: int) -> None:
    camera = kit.make_scene().camera
    lens = cinema_lens(camera, 1.2, 0.2)
    assert lens.focus == pytest.approx(1.1)
    assert lens.blur(camera, rows) == pytest.approx(BLUR_AT_INFINITY * rows)
    assert cinema_lens(camera, 1.2, 9.0).focus > 0
