"""Boxes of known size at known poses: are size, pose and print found, and is nothing else taken for a box?"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.mesh3d.core.boxes import build_box
from services.mesh3d.core.cuboid import DEPTH_PRIOR, Cuboid, Face, fit_cuboid
from services.mesh3d.core.silhouette import find_silhouette
from services.mesh3d.core.texture import make_chart
from tests.unit.mesh3d.boxes import Box, draw_box, label
from tests.unit.mesh3d.conftest import (
    Cutout,
    Profile,
    animal,
    ball,
    bottle,
    bowl,
    cylinder,
    draw_mask,
    draw_turned,
    reconstruct,
    vase,
)
from tests.unit.mesh3d.test_embedded import assert_promised, compare_with_photo, load

CEREAL = Box(1.0, 1.5, 0.4, yaw=-30.0, elevation=20.0)


def cuboid_of(cutout: Cutout) -> Cuboid:
    cuboid = fit_cuboid(find_silhouette(cutout))
    assert cuboid is not None
    return cuboid


def ratios(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sizes / sizes.max())


@pytest.mark.parametrize(
    "box",
    [
        CEREAL,
        Box(1.0, 1.0, 1.0, yaw=-45.0, elevation=35.0),
        Box(2.0, 0.4, 1.4, yaw=-50.0, elevation=35.0),
        Box(1.0, 1.5, 0.2, yaw=-20.0, elevation=12.0),
        Box(0.5, 2.0, 0.6, yaw=-65.0, elevation=8.0),
        Box(1.0, 1.5, 0.6, yaw=-35.0, elevation=25.0, roll=6.0),
        Box(1.0, 1.5, 0.6, yaw=-35.0, elevation=25.0, distance=5.0),
        Box(1.0, 1.5, 0.6, yaw=-50.0, elevation=25.0, distance=3.0),
        Box(2.0, 1.0, 1.3, yaw=-60.0, elevation=30.0, distance=4.0),
        Box(1.0, 1.5, 0.7, yaw=-25.0, elevation=12.0, distance=3.0),
        Box(1.0, 1.5, 0.7, yaw=-10.0, elevation=15.0, distance=5.0),
    ],
)
def test_three_faces_tell_all_three_sizes(box: Box) -> None:
    cuboid = cuboid_of(draw_box(box, 320))
    assert cuboid.measured
    np.testing.assert_allclose(ratios(cuboid.sizes), ratios(box.sizes), rtol=0.03)
    assert np.degrees(cuboid.yaw) == pytest.approx(box.yaw, abs=1.5)
    assert np.degrees(cuboid.elevation) == pytest.approx(box.elevation, abs=1.5)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    width=st.floats(0.4, 2.0),
    height=st.floats(0.4, 2.0),
    depth=st.floats(0.4, 2.0),
    yaw=st.floats(-70.0, -20.0),
    elevation=st.floats(12.0, 45.0),
    roll=st.floats(-8.0, 8.0),
)
def test_any_box_seen_from_a_corner_is_found(
    width: float, height: float, depth: float, yaw: float, elevation: float, roll: float
) -> None:
    box = Box(width, height, depth, yaw, elevation, roll)
    cuboid = cuboid_of(draw_box(box, 240))
    np.testing.assert_allclose(ratios(cuboid.sizes), ratios(box.sizes), rtol=0.08)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    sides=st.tuples(*[st.floats(0.3, 2.0)] * 3),
    yaw=st.floats(-90.0, 0.0),
    elevation=st.floats(0.0, 80.0),
    roll=st.floats(-45.0, 45.0),
    distance=st.one_of(st.just(np.inf), st.floats(2.5, 8.0)),
)
def test_a_box_at_any_pose_gives_a_sound_mesh(
    sides: tuple[float, float, float], yaw: float, elevation: float, roll: float, distance: float
) -> None:
    result = reconstruct(draw_box(Box(*sides, yaw, elevation, roll, distance), 100))
    assert result.watertight
    assert_promised(result.glb)


@pytest.mark.parametrize("box", [CEREAL, Box(1.0, 1.5, 0.6, distance=4.0)])
def test_the_print_of_each_seen_face_is_squared_up(box: Box) -> None:
    cutout = draw_box(box)
    silhouette = find_silhouette(cutout)
    mesh, uvs, atlas = build_box(cuboid_of(cutout), *make_chart(cutout, silhouette))
    # faces come in the order front, right, back, left, top, bottom
    per_face = uvs.reshape(6, -1, 2) * atlas.shape[1::-1]
    shown: dict[Face, int] = {"front": 0, "right": 1, "top": 4}
    for face, at in shown.items():
        low, high = per_face[at].min(axis=0).astype(int), per_face[at].max(axis=0).astype(int)
        found = atlas[low[1] : high[1], low[0] : high[0]]
        true = cv2.resize(label(face) * 255, found.shape[1::-1], interpolation=cv2.INTER_AREA)
        # what the photo shows foreshortened is blurred, and the outline's own pixels were bled over
        inner = (slice(len(found) // 12, -len(found) // 12), slice(found.shape[1] // 12, -found.shape[1] // 12))
        error = (np.asarray(true) - found)[inner]
        assert 10 * np.log10(255**2 / np.mean(error**2)) >= 21, face
    # the back repeats the front and the left the right, each the right way round as seen from outside
    np.testing.assert_array_equal(per_face[2], per_face[0])
    np.testing.assert_array_equal(per_face[3], per_face[1])
    assert len(mesh.vertices) == len(uvs)


def test_a_hidden_face_is_not_mirrored() -> None:
    loaded = load(reconstruct(draw_box(CEREAL)).glb)
    normals, uvs = loaded.attribute("NORMAL"), loaded.attribute("TEXCOORD_0")
    corners, texels = loaded.attribute("POSITION")[loaded.faces], uvs[loaded.faces]
    first, second = texels[:, 1] - texels[:, 0], texels[:, 2] - texels[:, 0]
    # counter-clockwise outside, and v runs down: the texture must wind the other way round on every face
    assert (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0).all()
    # and it stands upright on the walls
    wall = np.abs(normals[loaded.faces[:, 0], 1]) < 0.5
    rise = corners[wall][:, :, 1] - corners[wall][:, :1, 1]
    fall = texels[wall][:, :, 1] - texels[wall][:, :1, 1]
    assert (rise * fall <= 1e-9).all()


@pytest.mark.parametrize("box", [CEREAL, Box(1.0, 1.0, 1.0, -45.0, 30.0), Box(1.2, 1.0, 0.7, yaw=0.0, elevation=0.0)])
def test_the_front_of_a_box_is_the_photo(box: Box) -> None:
    cutout = draw_box(box)
    loaded = assert_promised(reconstruct(cutout).glb)
    # pixel for pixel, as the fine print of a label does not survive a change of size
    side = max(cv2.boundingRect((cutout[..., 3] >= 128).astype(np.uint8))[2:])
    decibels, overlap = compare_with_photo(cutout, loaded, cuboid_of(cutout).elevation, side)
    assert decibels >= 30
    assert overlap >= 0.97


def test_a_crooked_photo_gives_an_upright_box() -> None:
    result = reconstruct(draw_box(Box(1.0, 1.5, 0.6, roll=7.0)))
    normals = load(result.glb).attribute("NORMAL")
    assert set(np.unique(np.round(normals[:, 1], 6))) == {-1.0, 0.0, 1.0}
    assert result.triangles == 768


def test_a_face_seen_square_on_gets_the_stated_depth() -> None:
    cuboid = cuboid_of(draw_box(Box(1.0, 1.5, 0.3, yaw=0.0, elevation=0.0)))
    assert not cuboid.measured
    np.testing.assert_allclose(cuboid.sizes / cuboid.sizes[0], (1.0, 1.5, DEPTH_PRIOR), rtol=0.01)
    assert (cuboid.yaw, cuboid.elevation) == (0.0, 0.0)


def test_unseen_sides_go_on_with_the_colours_of_the_rim() -> None:
    cutout = np.zeros((200, 160, 4), np.uint8)
    cutout[20:180, 20:140] = (210, 40, 30, 255)
    cutout[100:180, 20:140] = (30, 60, 200, 255)
    loaded = assert_promised(reconstruct(cutout).glb)
    chart = loaded.picture(0)
    normals, uvs, heights = (loaded.attribute(name) for name in ("NORMAL", "TEXCOORD_0", "POSITION"))
    at = np.minimum((uvs * chart.shape[1::-1]).astype(int), np.array(chart.shape[1::-1]) - 1)
    colours = chart[at[:, 1], at[:, 0]].astype(int)
    for outwards in (-1.0, 1.0):
        side = normals[:, 0] == outwards
        upper = side & (heights[:, 1] > 0.7 * heights[:, 1].max())
        lower = side & (heights[:, 1] < 0.3 * heights[:, 1].max())
        assert np.abs(colours[upper] - (210, 40, 30)).max() < 12
        assert np.abs(colours[lower] - (30, 60, 200)).max() < 12
    assert np.abs(colours[normals[:, 1] == 1.0] - (210, 40, 30)).max() < 12


def test_a_thin_book_is_thin_where_its_thickness_was_seen() -> None:
    result = reconstruct(draw_box(Box(1.0, 1.4, 0.15, yaw=-35.0, elevation=25.0)))
    assert (result.method, result.verdict, result.watertight) == ("cuboid", "thin", True)
    assert result.thin_axis_ratio == pytest.approx(0.15 / 1.4, rel=0.05)


@pytest.mark.parametrize("radius", [3, 8])
def test_slightly_rounded_corners_are_a_boxs_still(radius: int) -> None:
    cutout = draw_box(CEREAL)
    matte = (cutout[..., 3] > 127).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    cutout[..., 3] = cv2.morphologyEx(matte, cv2.MORPH_OPEN, disc) * 255
    np.testing.assert_allclose(ratios(cuboid_of(cutout).sizes), ratios(CEREAL.sizes), rtol=0.05)


@pytest.mark.parametrize("elevation", [2.0, 4.0, 8.0, 15.0, 30.0])
@pytest.mark.parametrize("height", [0.5, 1.0, 2.0, 3.0])
def test_a_can_is_no_box(elevation: float, height: float) -> None:
    cutout = draw_turned(cylinder, height, elevation)
    # without a picture of its roundness, only the outline can tell
    cutout[..., :3] = 128
    assert fit_cuboid(find_silhouette(cutout)) is None


def test_a_can_seen_level_is_told_by_its_shading() -> None:
    assert reconstruct(draw_turned(cylinder, 1.2, 0.0)).method == "lathe"


@pytest.mark.parametrize("profile", [vase, bowl, ball, bottle, lambda at: 0.4 + 0.08 * at])
@pytest.mark.parametrize("elevation", [0.0, 15.0])
def test_nothing_turned_is_a_box(profile: Profile, elevation: float) -> None:
    assert fit_cuboid(find_silhouette(draw_turned(profile, 1.0, elevation))) is None


def flat_shape(name: str) -> NDArray[np.bool_]:
    mask = np.zeros((300, 300), np.uint8)
    if name == "ellipse":
        cv2.ellipse(mask, (150, 150), (120, 90), 20, 0, 360, 1, -1)
    elif name == "star":
        angle = np.arange(10) * np.pi / 5
        reach = np.where(np.arange(10) % 2, 55, 130)
        corners = 150 + np.stack([np.sin(angle), -np.cos(angle)], axis=1) * reach[:, None]
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    elif name == "L":
        mask[40:260, 40:130] = mask[180:260, 40:260] = 1
    elif name == "person":
        cv2.circle(mask, (150, 70), 35, 1, -1)
        cv2.ellipse(mask, (150, 230), (80, 120), 0, 180, 360, 1, -1)
    elif name == "pillow":
        rows, columns = (np.indices(mask.shape) - 150) / 110
        mask[np.abs(rows) ** 4 + np.abs(columns) ** 4 < 1] = 1
    elif name == "triangle":
        cv2.fillPoly(mask, [np.array([(150, 30), (270, 260), (30, 260)])], 1)
    elif name == "diamond":
        cv2.fillPoly(mask, [np.array([(150, 30), (260, 150), (150, 270), (40, 150)])], 1)
    elif name == "pole":
        mask[10:290, 125:175] = 1
    elif name == "trapezoid":
        cv2.fillPoly(mask, [np.array([(60, 60), (240, 60), (210, 260), (90, 260)])], 1)
    return mask > 0


@pytest.mark.parametrize(
    "name", ["ellipse", "star", "L", "person", "pillow", "triangle", "diamond", "pole", "trapezoid"]
)
def test_what_is_no_box_does_not_become_one(name: str) -> None:
    assert fit_cuboid(find_silhouette(draw_mask(flat_shape(name)))) is None


def test_an_animal_and_what_is_too_small_are_no_boxes() -> None:
    assert fit_cuboid(find_silhouette(draw_mask(animal()))) is None
    speck = np.zeros((60, 60), bool)
    speck[20:40, 20:40] = True
    assert fit_cuboid(find_silhouette(draw_mask(speck))) is None


def test_the_same_box_gives_the_same_bytes() -> None:
    cutout = draw_box(CEREAL, 200)
    assert reconstruct(cutout).glb == reconstruct(cutout.copy()).glb
