"""From a field to a triangle mesh: sample, polygonise, smooth, decimate, and vouch for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import fast_simplification
import manifold3d
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from lensora.core.errors import FailedPrecondition, Internal
from services.mesh3d.core.solid import Solid

GRID_SIDE = 208
"""Most samples along the longest side."""

GRID_SAMPLES = 3_000_000
"""Most samples in all: a cube gets 144 a side, a bottle the whole of ``GRID_SIDE``."""

TRIANGLES = 16_000
"""Decimation's target: below a pixel each in a 720p film, and a file of half a megabyte without its textures."""

TAUBIN_PASSES = 6
"""Pairs of passes. Taubin, "A signal processing approach to fair surface design" (SIGGRAPH 1995): a shrinking pass
with ``TAUBIN_SHRINK`` and a growing one with ``TAUBIN_GROW`` remove the grid's steps and keep the size."""

TAUBIN_SHRINK = 0.5
TAUBIN_GROW = -0.53

ON_SURFACE = 1e-3
"""Least distance, in grid steps, of a sample from the surface."""

FLAT_SNAP = 0.6
"""Grid steps from a flat end that count as lying in it."""

EDGE_COSINE = 0.94
"""Cosine (of 20°) between dense and sparse normals below which a vertex lies on an edge."""

TOUCHING_GAP = 0.02
"""Grid steps by which sheets that touch are drawn apart."""

MIN_PIECE = 0.02
"""Share of the largest piece's volume under which a loose piece is dropped."""

MIN_EDGE = 1e-4
"""Edges shorter than this share of the longest side are collapsed: they give triangles with no area in float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """A closed triangle mesh with one normal a vertex."""

    vertices: NDArray[np.float64]
    """(n, 3)"""

    faces: NDArray[np.int64]
    """(m, 3) counter-clockwise as seen from outside."""

    normals: NDArray[np.float64]
    """(n, 3) unit, outwards."""


def polygonise(solid: Solid, check: Callable[[], None]) -> Mesh:
    """The solid's surface, in its own frame and unit, as a watertight 2-manifold.

    Args:
        solid: the shape.
        check: called between the steps; may raise to stop.

    Raises:
        FailedPrecondition: reason ``NO_SUBJECT``: the solid is thinner everywhere than the grid can hold.
        Internal: no closed mesh came of it (a defect).
    """
    field, low, step = _sample(solid)
    check()
    if field.max() <= 0:
        raise FailedPrecondition(
            "The subject is too thin to give it volume. Choose another object.", reason="NO_SUBJECT"
        )
    # a sample exactly on the surface would put several vertices in one place
    field[np.abs(field) < ON_SURFACE] = -ON_SURFACE
    vertices, faces, _, _ = marching_cubes(field, 0.0, gradient_direction="ascent")
    check()
    vertices, faces = _without_debris(vertices.astype(np.float64), faces)
    smooth = _taubin(vertices, faces)
    smooth_normals = vertex_normals(smooth, faces)
    check()
    whole = _decimate(smooth, faces)
    check()
    mesh = whole.simplify(MIN_EDGE * max(field.shape)).to_mesh64()
    faces = np.asarray(mesh.tri_verts, dtype=np.int64)
    points = _part_touching(np.asarray(mesh.vert_properties, dtype=np.float64)[:, :3], faces)
    # the dense surface's normals, as those of the few large triangles would show as facets; but at an edge, where the
    # two disagree, a sliver's normal must not colour the large faces beside it
    _, nearest = cKDTree(smooth).query(points, k=3)
    dense, sparse = unit(smooth_normals[nearest].sum(axis=1)), vertex_normals(points, faces)
    agree = np.einsum("ij,ij->i", dense, sparse) > EDGE_COSINE
    normals = np.where(agree[:, None], dense, sparse)
    return _with_flats(Mesh(low + step * points, faces, normals), solid, step)


def _with_flats(mesh: Mesh, solid: Solid, step: float) -> Mesh:
    """Press flat what smoothing rounded off at the solid's flat ends, and give these faces vertices of their own, so
    that normals and texture have an edge there.
    """
    vertices, faces, normals = mesh.vertices, mesh.faces, mesh.normals
    for height, up in zip(solid.flats, (-1.0, 1.0), strict=False):
        on_flat = np.abs(vertices[:, 1] - height) < FLAT_SNAP * step
        vertices[:, 1] = np.where(on_flat, height, vertices[:, 1])
        chosen = on_flat[faces].all(axis=1)
        normals = np.where(on_flat[:, None], vertex_normals(vertices, faces[~chosen]), normals)
        used, renumbered = np.unique(faces[chosen], return_inverse=True)
        faces[chosen] = renumbered.reshape(-1, 3) + len(vertices)
        vertices = np.concatenate([vertices, vertices[used]])
        normals = np.concatenate([normals, np.tile((0.0, up, 0.0), (len(used), 1))])
    used, renumbered = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used], renumbered.reshape(-1, 3), normals[used])


def _sample(solid: Solid) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
    """Field (nx, ny, nz), its first sample's place and the step; the outermost samples are all outside."""
    low, high = solid.bounds
    size = high - low
    step = max(float(size.max()) / GRID_SIDE, float(np.prod(size) / GRID_SAMPLES) ** (1 / 3))
    counts = np.ceil(size / step).astype(int) + 5
    start = (low + high) / 2 - (counts - 1) / 2 * step
    axes = [start[axis] + step * np.arange(counts[axis]) for axis in range(3)]
    field = np.full(tuple(counts), -1.0, dtype=np.float32)
    inner = (slice(1, -1),) * 3
    field[inner] = (solid.field(*axes) / np.float32(step))[inner]
    return field, start, step


def _taubin(vertices: NDArray[np.float64], faces: NDArray[np.integer]) -> NDArray[np.float64]:
    """Vertices (n, 3) smoothed without shrinking; uniform weights."""
    start = faces.ravel()
    end = np.roll(faces, -1, axis=1).ravel()
    # each edge of a closed mesh is walked once in either direction, so this counts every neighbour once
    links = csr_array((np.ones(len(start)), (start, end)), shape=(len(vertices), len(vertices)))
    average = diags_array(1.0 / np.maximum(links.sum(axis=1), 1.0), format="csr") @ links
    for factor in (TAUBIN_SHRINK, TAUBIN_GROW) * TAUBIN_PASSES:
        vertices = vertices + factor * (average @ vertices - vertices)
    return vertices


def _decimate(vertices: NDArray[np.float64], faces: NDArray[np.integer]) -> manifold3d.Manifold:
    """About ``TRIANGLES`` triangles, closed and manifold.

    Quadric decimation (Garland and Heckbert, 1997) keeps triangles well shaped but may, rarely, pinch the surface; then
    manifold3d's own edge collapse, which cannot, takes over with a tolerance that grows until it is enough.
    """
    whole = _manifold(vertices, faces)
    if len(faces) > TRIANGLES:
        dense = vertices.astype(np.float32), faces.astype(np.int32)
        thinned, thinned_faces = fast_simplification.simplify(*dense, target_count=TRIANGLES)
        if is_watertight(thinned, thinned_faces):
            whole = _manifold(thinned, thinned_faces)
        tolerance = 0.05
        while whole.num_tri() > 2 * TRIANGLES and tolerance < 1.0:
            whole = whole.simplify(tolerance)
            tolerance *= 1.5
    if whole.status() != manifold3d.Error.NoError:
        raise Internal(f"The surface is not a closed manifold ({whole.status()}).")
    return whole


def _part_touching(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """Draw vertices that share a place, where the surface touches itself, back along their own normals: else welding by
    position would join sheets that are not one.
    """
    _, place, count = np.unique(vertices.astype(np.float32), axis=0, return_inverse=True, return_counts=True)
    touching = count[place.reshape(-1)] > 1
    return np.where(touching[:, None], vertices - TOUCHING_GAP * vertex_normals(vertices, faces), vertices)


def _manifold(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> manifold3d.Manifold:
    mesh = manifold3d.Mesh64(
        vert_properties=np.ascontiguousarray(vertices, np.float64), tri_verts=np.ascontiguousarray(faces, np.uint64)
    )
    return manifold3d.Manifold(mesh)


def _without_debris(
    vertices: NDArray[np.float64], faces: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Only the pieces that count; enclosed cavities, whose volume is negative, are filled."""
    start, end = faces[:, :2].ravel(), faces[:, 1:].ravel()
    links = csr_array((np.ones(len(start)), (start, end)), shape=(len(vertices), len(vertices)))
    _, piece = connected_components(links, directed=False)
    owner = piece[faces[:, 0]]
    volumes = np.bincount(owner, weights=signed_volumes(vertices, faces))
    kept = (volumes >= MIN_PIECE * volumes.max())[owner]
    used, renumbered = np.unique(faces[kept], return_inverse=True)
    return vertices[used], renumbered.reshape(-1, 3).astype(np.int64)


def signed_volumes(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.float64]:
    """(m,) volumes of the tetrahedra from the origin to each face; their sum is a closed mesh's volume."""
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    return np.asarray(np.einsum("ij,ij->i", first, np.cross(second, third)) / 6)


def vertex_normals(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.float64]:
    """(n, 3) unit normals, each the mean of its faces' weighted by their areas."""
    first, second, third = (np.asarray(vertices, dtype=np.float64)[faces[:, corner]] for corner in range(3))
    weighted = np.cross(second - first, third - first)
    ones = np.ones(faces.size)
    gather = csr_array((ones, (faces.ravel(), np.arange(faces.size) // 3)), shape=(len(vertices), len(faces)))
    return unit(gather @ weighted)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, 3) scaled to length 1; upwards where there is no direction."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 1e-9, vectors / np.maximum(length, 1e-9), (0.0, 1.0, 0.0))


def is_watertight(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> bool:
    """Whether every edge, with vertices welded by position, is walked exactly once in either direction."""
    _, welded = np.unique(np.asarray(vertices), axis=0, return_inverse=True)
    corners = welded.reshape(-1)[faces]
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    forward = edges[:, 0] * len(vertices) + edges[:, 1]
    backward = edges[:, 1] * len(vertices) + edges[:, 0]
    once = len(np.unique(forward)) == len(forward)
    return bool(once and np.array_equal(np.sort(forward), np.sort(backward)))
