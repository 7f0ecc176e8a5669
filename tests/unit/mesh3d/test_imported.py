"""Meshes of other programs, brought to our frame and material."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from services.mesh3d.core.gltf import Picture
from services.mesh3d.core.imported import MAX_TRIANGLES, MeshUnusable, read_glb
from services.mesh3d.core.surface import is_watertight


def box(extents: tuple[float, float, float] = (1.0, 2.0, 3.0), **material: Any) -> trimesh.Trimesh:
    """A box whose six faces share no vertex, as seams of a texture split them."""
    mesh = trimesh.creation.box(extents)
    corners = mesh.vertices[mesh.faces].reshape(-1, 3)
    uvs = np.tile([[0.0, 0.0], [1.0, 0.0], [1.0, 0.25]], (12, 1))
    surface = trimesh.visual.material.PBRMaterial(**material)
    return trimesh.Trimesh(
        corners,
        np.arange(36).reshape(-1, 3),
        process=False,
        visual=trimesh.visual.TextureVisuals(uv=uvs, material=surface),
    )


def glb(mesh: trimesh.Trimesh) -> bytes:
    return bytes(mesh.export(file_type="glb"))


def texels(picture: Picture) -> NDArray[np.uint8]:
    """(h, w, 3) RGB of an encoded texture."""
    found = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return np.asarray(found[..., ::-1], np.uint8)


def test_textures_are_handed_on() -> None:
    made = read_glb(
        glb(
            box(
                baseColorTexture=Image.new("RGBA", (32, 16), (200, 60, 40, 255)),
                metallicRoughnessTexture=Image.new("RGB", (8, 8), (0, 100, 200)),
                normalTexture=Image.new("RGB", (8, 8), (120, 130, 250)),
                roughnessFactor=0.5,
                metallicFactor=1.0,
            )
        )
    )
    colour = texels(made.material.base_colour)
    assert colour.shape == (16, 32, 3)
    assert np.abs(colour.astype(int) - (200, 60, 40)).max() <= 2
    assert (texels(made.material.metallic_roughness) == (0, 50, 200)).all()
    assert (texels(made.material.normal) == (120, 130, 250)).all()


def test_what_is_missing_is_made_from_factors() -> None:
    made = read_glb(glb(box(baseColorFactor=[10, 200, 30, 255], roughnessFactor=0.2, metallicFactor=1.0)))
    assert np.abs(texels(made.material.base_colour).astype(int) - (10, 200, 30)).max() <= 3
    assert (texels(made.material.metallic_roughness) == (0, 51, 255)).all()
    assert (texels(made.material.normal) == (128, 128, 255)).all()


def test_seams_do_not_show() -> None:
    mesh = read_glb(glb(box())).mesh
    places, same = np.unique(mesh.vertices, axis=0, return_inverse=True)
    for place in range(len(places)):
        shared = mesh.normals[same.reshape(-1) == place]
        assert np.allclose(shared, shared[0])
    assert is_watertight(mesh.vertices, mesh.faces)


def test_v_grows_downwards() -> None:
    assert set(np.round(read_glb(glb(box())).uvs[:, 1], 6)) == {1.0, 0.75}


def test_triangles_without_an_area_are_left_out() -> None:
    mesh = box()
    mesh.vertices = np.where(mesh.vertices[:, [0]] > 0, mesh.vertices, mesh.vertices * (1, 1e-9, 1e-9))
    made = read_glb(glb(mesh))
    corners = made.mesh.vertices.astype(np.float32).astype(np.float64)[made.mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    assert 0 < len(areas) < 12 and areas.min() > 0


def without(change: str) -> bytes:
    """A file that cannot be used."""
    mesh = box()
    match change:
        case "flat":
            mesh.vertices = mesh.vertices * 0.0
        case "numbers":
            mesh.vertices = np.full_like(mesh.vertices, np.nan)
        case "coordinates":
            mesh.visual = trimesh.visual.ColorVisuals()
        case "triangles":
            mesh = trimesh.creation.icosphere(subdivisions=1)
            copies = MAX_TRIANGLES // len(mesh.faces) + 1
            mesh = trimesh.Trimesh(
                mesh.vertices,
                np.tile(mesh.faces, (copies, 1)),
                process=False,
                visual=trimesh.visual.TextureVisuals(uv=np.zeros((len(mesh.vertices), 2))),
            )
    return glb(mesh)


@pytest.mark.parametrize("change", ["flat", "numbers", "coordinates", "triangles"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning:trimesh")
def test_what_cannot_be_used_is_refused(change: str) -> None:
    with pytest.raises(MeshUnusable):
        read_glb(without(change))


@pytest.mark.parametrize("cut", [0, 3, 12, 200])
def test_what_is_no_glb_is_refused(cut: int) -> None:
    with pytest.raises(MeshUnusable):
        read_glb(glb(box())[:cut])


def test_reader_is_independent_of_the_frame() -> None:
    tall = read_glb(glb(box((1.0, 3.0, 0.5)))).mesh
    assert np.allclose(np.ptp(tall.vertices, axis=0), (1.0, 3.0, 0.5))
