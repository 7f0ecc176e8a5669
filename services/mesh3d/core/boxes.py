"""Mesh and texture of a box: six flat faces, each with a chart of its own, squared up from the photo."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from services.mesh3d.core.cuboid import Cuboid, Face
from services.mesh3d.core.surface import Mesh

CELLS = 8
"""Squares along each side of a face."""

ATLAS_SIDE = 2048
"""Most texels along the atlas's longer side."""

GUTTER = 8
"""Texels around each chart that repeat its rim, so that neighbours do not bleed in at lower mip levels."""

MIN_TEXELS = 4
"""Fewest along a chart's side."""

STRIP = 0.06
"""Share of a face, along its rim, whose colours go on around the edge to a side that was not seen."""

_FRAMES: dict[Face, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "front": ((1, 0, 0), (0, -1, 0)),
    "right": ((0, 0, -1), (0, -1, 0)),
    "back": ((-1, 0, 0), (0, -1, 0)),
    "left": ((0, 0, 1), (0, -1, 0)),
    "top": ((1, 0, 0), (0, 0, 1)),
    "bottom": ((1, 0, 0), (0, 0, -1)),
}
"""For each face the directions, in the box's own axes, in which u and v grow: right and down as seen from outside, so
that a label copied to the opposite face still reads."""

Chart = NDArray[np.uint8]


def build_box(
    cuboid: Cuboid, photo: Chart, place: tuple[float, float, float, float]
) -> tuple[Mesh, NDArray[np.float64], Chart]:
    """The box as a mesh with an atlas.

    Args:
        cuboid: the box.
        photo: (h, w, 3) 8-bit sRGB, subject colours everywhere.
        place: (left, top, width, height) of ``photo`` in the cut-out's pixels.

    Returns:
        The mesh in the object frame, working pixels; (n, 2) texture coordinates, origin top left; and the atlas, (h',
        w', 3) 8-bit sRGB.
    """
    charts, shown = _charts(cuboid, photo, place)
    atlas, boxes = _pack(charts)
    vertices: list[NDArray[np.float64]] = []
    normals, uvs, faces = [], [], []
    step = np.arange(CELLS + 1)
    down, across = np.meshgrid(step, step, indexing="ij")
    corner = (down * (CELLS + 1) + across)[:-1, :-1].ravel()
    below = corner + CELLS + 1
    cells = np.concatenate([np.stack([corner, below, corner + 1], 1), np.stack([corner + 1, below, below + 1], 1)])
    for face, (right, bottom) in _FRAMES.items():
        outwards = np.cross(bottom, right)
        # whole numbers first: a corner comes out the same, bit by bit, on each of its faces
        lattice = CELLS * outwards + np.multiply.outer(2 * across - CELLS, right)
        lattice = (lattice + np.multiply.outer(2 * down - CELLS, bottom)).reshape(-1, 3)
        faces.append(cells + sum(len(each) for each in vertices))
        vertices.append((lattice / (2 * CELLS) * cuboid.sizes) @ cuboid.turn.T)
        normals.append(np.broadcast_to(outwards @ cuboid.turn.T, lattice.shape))
        left, top, width, height = boxes[shown[face]]
        uvs.append(np.stack([left + width * across / CELLS, top + height * down / CELLS], axis=-1).reshape(-1, 2))
    mesh = Mesh(np.concatenate(vertices), np.concatenate(faces), np.concatenate(normals))
    return mesh, np.concatenate(uvs) / atlas.shape[1::-1], atlas


def _charts(
    cuboid: Cuboid, photo: Chart, place: tuple[float, float, float, float]
) -> tuple[list[Chart], dict[Face, int]]:
    """The different charts, and the one that each face shows. A hidden face shows what the opposite one does; a side
    of a box seen square on goes on with the colours of the front's rim; the bottom is plain.
    """
    scale = np.array(photo.shape[1::-1]) / place[2:]
    texels = _texels(cuboid, scale)
    seen: dict[Face, Chart] = {
        face: _square_up(photo, (quad - place[:2]) * scale, texels[face]) for face, quad in cuboid.quads.items()
    }
    front = seen["front"]
    plain = np.broadcast_to(np.median(front.reshape(-1, 3), axis=0), (MIN_TEXELS, MIN_TEXELS, 3)).astype(np.uint8)
    if cuboid.measured:
        charts = [front, seen["right"], seen["top"], plain]
        return charts, {"front": 0, "back": 0, "right": 1, "left": 1, "top": 2, "bottom": 3}
    charts = [front, _rim(front[:, ::-1]), _rim(front), _rim(front.swapaxes(0, 1)).swapaxes(0, 1), plain]
    return charts, {"front": 0, "back": 0, "right": 1, "left": 2, "top": 3, "bottom": 4}


def _texels(cuboid: Cuboid, scale: NDArray[np.float64]) -> dict[Face, tuple[int, int]]:
    """(width, height) of the seen faces' charts: as dense as the best resolved side of the face in the photo."""
    width, height, depth = cuboid.sizes
    spans: dict[Face, tuple[float, float]] = {"front": (width, height), "right": (depth, height), "top": (width, depth)}
    density = 0.0
    for face, quad in cuboid.quads.items():
        sides = np.linalg.norm((np.roll(quad, -1, axis=0) - quad) * scale, axis=1)
        density = max(density, float((sides.reshape(2, 2).max(axis=0) / spans[face]).max()))
    total = sum(spans[face][0] for face in cuboid.quads), max(spans[face][1] for face in cuboid.quads)
    room = ATLAS_SIDE - 2 * GUTTER * 5 - 3 * MIN_TEXELS
    density = min(density, room / total[0], room / total[1])
    return {
        face: (max(round(density * across), MIN_TEXELS), max(round(density * down), MIN_TEXELS))
        for face, (across, down) in spans.items()
        if face in cuboid.quads
    }


def _square_up(photo: Chart, quad: NDArray[np.float64], size: tuple[int, int]) -> Chart:
    """A face as seen square on: the homography of its four corners (Hartley and Zisserman, 2004, §4.1)."""
    width, height = size
    target = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float32)
    # OpenCV counts from pixel centres, we from pixel corners
    matrix = cv2.getPerspectiveTransform((quad - 0.5).astype(np.float32), target - np.float32(0.5))
    found = cv2.warpPerspective(photo, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=np.uint8)


def _rim(face: Chart) -> Chart:
    """(h, MIN_TEXELS, 3): the colour of each row near the left rim, smoothed a little along it."""
    strip = face[:, : max(round(STRIP * face.shape[1]), 1)]
    rows = np.median(strip, axis=1).astype(np.float32)[:, None]
    smooth = cv2.GaussianBlur(rows, (1, 0), sigmaX=0.1, sigmaY=max(STRIP / 4 * len(rows), 0.5))
    return np.repeat(np.round(smooth).astype(np.uint8).reshape(-1, 1, 3), MIN_TEXELS, axis=1)


def _pack(charts: list[Chart]) -> tuple[Chart, list[tuple[int, int, int, int]]]:
    """All charts beside each other, and (left, top, width, height) of each, texels."""
    padded = [cv2.copyMakeBorder(chart, *(GUTTER,) * 4, cv2.BORDER_REPLICATE) for chart in charts]
    tallest = max(len(each) for each in padded)
    filled = [cv2.copyMakeBorder(each, 0, tallest - len(each), 0, 0, cv2.BORDER_REPLICATE) for each in padded]
    lefts = np.cumsum([0] + [each.shape[1] for each in padded])
    boxes = [
        (int(left) + GUTTER, GUTTER, chart.shape[1], chart.shape[0]) for left, chart in zip(lefts, charts, strict=False)
    ]
    return np.concatenate(filled, axis=1), boxes
