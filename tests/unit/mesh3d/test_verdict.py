"""Meshes whose verdict is known, in any pose."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from services.mesh3d.core.verdict import Measures, judge, silhouette_area
from tests.unit.mesh3d.conftest import animal


def measure(mesh: trimesh.Trimesh) -> Measures:
    return judge(np.asarray(mesh.vertices), np.asarray(mesh.faces))


def turned(mesh: trimesh.Trimesh, degrees: float) -> trimesh.Trimesh:
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.radians(degrees), (0, 1, 0)))
    return mesh


def ellipsoid(x: float, y: float, z: float) -> trimesh.Trimesh:
    mesh = trimesh.creation.icosphere(subdivisions=4)
    mesh.apply_scale((x, y, z))
    return mesh


def extruded(mask: NDArray[np.bool_], depth: float) -> trimesh.Trimesh:
    """A picture given nothing but thickness: ``depth`` of its width."""
    from skimage.measure import marching_cubes

    small = mask[::4, ::4]
    layers = round(depth * small.shape[1])
    block = np.zeros((*small.shape, layers + 2), np.float32)
    block[..., 1:-1] = small[..., None]
    vertices, faces, _, _ = marching_cubes(np.pad(block, ((1, 1), (1, 1), (0, 0))), 0.5, gradient_direction="ascent")
    return trimesh.Trimesh(vertices, faces)


@pytest.mark.parametrize("degrees", [0.0, 15.0, 45.0, 80.0])
@pytest.mark.parametrize("depth", [0.08, 0.15, 0.3])
def test_an_extruded_picture_is_a_slab_however_it_is_turned(depth: float, degrees: float) -> None:
    assert measure(turned(extruded(animal(), depth), degrees)).verdict == "slab"


def test_the_known_slab_is_one() -> None:
    measures = measure(turned(trimesh.creation.box((1.0, 0.8, 0.157)), 30.0))
    assert measures.verdict == "slab"
    assert measures.thin_axis_ratio == pytest.approx(0.157, abs=1e-3)


@pytest.mark.parametrize("degrees", [0.0, 33.0])
def test_round_and_deep_things_are_volumes(degrees: float) -> None:
    profile = np.array([[0.0, 0.0], [0.3, 0.0], [0.45, 0.4], [0.2, 0.9], [0.25, 1.0], [0.0, 1.0]])
    for mesh in (
        trimesh.creation.revolve(profile, sections=64),
        trimesh.creation.icosphere(subdivisions=3),
        trimesh.creation.box((1.0, 1.0, 1.0)),
        trimesh.creation.box((1.0, 0.7, 0.5)),
        extruded(animal(), 0.9),
    ):
        assert measure(turned(mesh, degrees)).verdict == "volume"


@pytest.mark.parametrize("aspect", [4.0, 8.0])
def test_a_bottle_is_slender_and_no_slab(aspect: float) -> None:
    measures = measure(trimesh.creation.cylinder(radius=0.5, height=aspect, sections=64))
    assert measures.thin_axis_ratio == pytest.approx(1 / aspect, rel=0.02)
    assert measures.verdict == "volume"


def test_thin_things_with_a_shape_are_thin() -> None:
    assert measure(ellipsoid(1.0, 1.0, 0.15)).verdict == "thin"
    assert measure(ellipsoid(0.7, 1.0, 0.2)).verdict == "thin"


def test_a_flat_back_is_told_from_a_mirrored_one() -> None:
    whole = ellipsoid(1.0, 1.0, 0.3)
    vertices = np.array(whole.vertices)
    vertices[:, 2] = np.where(vertices[:, 2] < 0, 0.3 * vertices[:, 2], vertices[:, 2])
    assert measure(whole).back_difference < 0.02
    assert measure(trimesh.Trimesh(vertices, whole.faces)).back_difference > 0.05


def test_the_silhouettes_area_is_right() -> None:
    sphere = ellipsoid(0.5, 0.5, 0.5)
    area = silhouette_area(np.asarray(sphere.vertices)[:, :2], np.asarray(sphere.faces))
    assert area == pytest.approx(np.pi / 4, rel=0.01)


def test_a_hole_in_the_surface_is_seen() -> None:
    mesh = trimesh.creation.icosphere(subdivisions=2)
    faces = np.asarray(mesh.faces)
    assert judge(np.asarray(mesh.vertices), faces).watertight
    assert not judge(np.asarray(mesh.vertices), faces[1:]).watertight
    split = np.asarray(mesh.vertices)[faces].reshape(-1, 3)
    assert judge(split, np.arange(len(split)).reshape(-1, 3)).watertight
