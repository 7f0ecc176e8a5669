"""The camera presets: how the subject turns, how close the view comes, and through which lens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import Scene
from services.render.core.arc import Arc, eased, half_turn, standing, turntable
from services.render.core.lens import Lens, cinema_lens
from services.render.core.placement import Placement
from services.render.core.zoom import Zoom, closest_zoom
from services.render.engine import CameraPreset

DOLLY_ZOOM = 1.35
"""Magnification at the end of a dolly, where the subject leaves room for it."""

PUSH_IN = 1.08
"""The same for the cinematic preset."""


@dataclass(frozen=True, slots=True)
class Move:
    """What changes from frame to frame, and what the stage must be ready for."""

    arc: Arc
    nearness: NDArray[np.float64]
    """(frames,) in [0, 1]: how far the view has come from the whole picture to ``closest``."""

    closest: Zoom
    lens: Lens
    outline: NDArray[np.float64]
    """(n, 3) points, metres, scene's frame: the subject stays within their hull."""


def camera_move(
    preset: CameraPreset,
    frames: int,
    scene: Scene,
    placement: Placement,
    vertices: NDArray[np.float64],
    *,
    slab: bool,
) -> Move:
    """What ``preset`` does with the subject.

    Args:
        preset: the public contract's name of the move.
        frames: how many the film has.
        scene: its camera, plate and focus are used.
        placement: where the subject stands.
        vertices: (n, 3) of the mesh, in its own frame.
        slab: whether a sweep must be clamped, see ``arc.is_slab``.
    """
    placed = vertices @ placement.matrix[:3, :3].T + placement.matrix[:3, 3]
    outline, wanted, lens = placement.outline(), 1.0, Lens(0.0, scene.focus_distance)
    nearness = np.zeros(frames)
    if preset == "turntable":
        arc = turntable(frames, slab=slab)
    elif preset == "dolly":
        arc, nearness, wanted = standing(frames), eased(frames), DOLLY_ZOOM
        outline = placed  # it does not turn, so the view may come closer than to one that does
    else:
        arc, nearness, wanted = half_turn(frames, slab=slab), eased(frames), PUSH_IN
        lens = cinema_lens(scene.camera, scene.focus_distance, float(placed[:, 2].max()))
    rows, columns = scene.plate.shape[:2]
    pixels = scene.camera.project(outline, columns, rows)
    return Move(arc, nearness, closest_zoom(pixels, (columns, rows), wanted), lens, outline)
