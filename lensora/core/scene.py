"""The stage a subject stands on: what ``background`` builds, and what ``render`` and the still draw into.

Metres, right-handed, Y up, front +Z. The subject's foot is at the origin; the ground is the plane y = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]


_FAR = 1e6
"""Metres, and any other number of a scene: beyond it, and below its inverse for sizes, arithmetic overflows."""


def _finite(name: str, values: Vector) -> None:
    if len(values) != 3 or not all(abs(value) <= _FAR for value in values):  # written so that NaN fails
        raise ValueError(f"{name}: three numbers from {-_FAR:g} to {_FAR:g} expected, not {values}")


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera without roll."""

    position: Vector
    """Metres."""

    target: Vector
    """The point in the middle of the picture, metres."""

    vertical_fov_degrees: float
    """Full angle from the bottom edge to the top edge, in (1, 120)."""

    def __post_init__(self) -> None:
        _finite("camera.position", self.position)
        _finite("camera.target", self.target)
        if not 1.0 < self.vertical_fov_degrees < 120.0:
            raise ValueError(f"camera.vertical_fov_degrees: 1 to 120 expected, not {self.vertical_fov_degrees}")
        if math.hypot(self.position[0] - self.target[0], self.position[2] - self.target[2]) < 1e-6:
            raise ValueError("camera.target: expected neither at camera.position nor straight above or below it")

    def view_matrix(self) -> NDArray[np.float64]:
        """(4, 4) float64, world to eye; the eye looks along its −Z, its +Y is up."""
        position = np.array(self.position, dtype=np.float64)
        forward = np.array(self.target) - position
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 1.0, 0.0))
        right /= np.linalg.norm(right)
        up = np.cross(right, forward)
        view = np.eye(4)
        view[:3, :3] = (right, up, -forward)
        view[:3, 3] = -view[:3, :3] @ position
        return view

    def projection_matrix(self, aspect: float, near: float, far: float) -> NDArray[np.float64]:
        """(4, 4) float64, eye to OpenGL clip space (z in [−w, w]); ``aspect`` is width over height."""
        focal = 1.0 / math.tan(math.radians(self.vertical_fov_degrees) / 2)
        matrix = np.zeros((4, 4))
        matrix[0, 0], matrix[1, 1] = focal / aspect, focal
        matrix[2, 2], matrix[2, 3] = (far + near) / (near - far), 2 * far * near / (near - far)
        matrix[3, 2] = -1.0
        return matrix

    def project(self, points: NDArray[np.floating], width: int, height: int) -> NDArray[np.float64]:
        """Pixel coordinates (n, 2) of world points (n, 3) in front of the camera; origin top left, y down."""
        eye = np.asarray(points, dtype=np.float64) @ self.view_matrix()[:3, :3].T + self.view_matrix()[:3, 3]
        focal = height / 2 / math.tan(math.radians(self.vertical_fov_degrees) / 2)
        return np.stack([width / 2 + focal * eye[:, 0] / -eye[:, 2], height / 2 - focal * eye[:, 1] / -eye[:, 2]], 1)


@dataclass(frozen=True, slots=True)
class KeyLight:
    """The one light that casts the shadow; a distant light."""

    direction: Vector
    """Unit vector from the subject towards the light; y > 0."""

    irradiance: Vector
    """Linear Rec.709 RGB that falls on a surface facing the light, in the environment's unit (radiance · sr)."""

    angular_radius_degrees: float
    """Half the angle the light fills: 0.3 is the sun, 15 a softbox or a window; widens the penumbra."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The plane y = 0, as far as shading needs it; what it looks like is in the plate."""

    albedo: Vector
    """Linear Rec.709 RGB mean reflectance, [0, 1]: what the ground bounces back on the subject."""

    roughness: float
    """0 mirror to 1 matt: below about 0.4 the subject is faintly reflected."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that drawing the subject needs to know of its surroundings."""

    name: str
    """The scene's short name, e.g. ``marble-countertop``."""

    plate: NDArray[np.uint8]
    """(height, width, 3) 8-bit sRGB: the empty scene through ``camera``, at the output's size and aspect."""

    environment: NDArray[np.float32]
    """(h, 2h, 3) float32 linear Rec.709 radiance, equirectangular; row 0 is +Y, the centre column is −Z, the
    column a quarter to its right is +X. Includes the light of the key light's surroundings but not the key itself."""

    key_light: KeyLight
    ground: Ground
    camera: Camera

    subject_height: float
    """The tallest a subject may stand, metres."""

    subject_width: float
    """The widest a subject may be, metres; whichever of the two binds first sets the scale."""

    focus_distance: float
    """From the camera to the plane in focus, metres."""

    exposure: float = 1.0
    """Linear gain from scene radiance to the plate's linear values: display = srgb(clamp(exposure · radiance))."""

    def __post_init__(self) -> None:
        if self.plate.dtype != np.uint8 or self.plate.ndim != 3 or self.plate.shape[2] != 3:
            raise ValueError(f"plate: (h, w, 3) uint8 expected, not {self.plate.shape} {self.plate.dtype}")
        shape = self.environment.shape
        if self.environment.dtype != np.float32 or len(shape) != 3 or shape[2] != 3 or shape[1] != 2 * shape[0]:
            raise ValueError(f"environment: (h, 2h, 3) float32 expected, not {shape} {self.environment.dtype}")
        key, ground = self.key_light, self.ground
        _finite("key_light.direction", key.direction)
        if abs(math.hypot(*key.direction) - 1.0) > 1e-3 or key.direction[1] <= 0:
            raise ValueError("key_light.direction: a unit vector with y > 0 expected")
        _finite("key_light.irradiance", key.irradiance)
        if min(key.irradiance) < 0 or not 0 <= key.angular_radius_degrees < 90:
            raise ValueError("key_light: irradiance of 0 or more and an angular radius of 0 to 90 degrees expected")
        if not all(0 <= value <= 1 for value in (*ground.albedo, ground.roughness)):
            raise ValueError("ground: albedo and roughness from 0 to 1 expected")
        sizes = (self.subject_height, self.subject_width, self.focus_distance, self.exposure)
        if not all(1 / _FAR <= size <= _FAR for size in sizes):
            names = "subject_height, subject_width, focus_distance and exposure"
            raise ValueError(f"{names}: positive numbers from {1 / _FAR:g} to {_FAR:g} expected, not {sizes}")

    def subject_scale(self, width: float, height: float) -> float:
        """Metres of the scene per unit of a subject that is ``width`` × ``height`` units seen from the front.

        The still and the film both place the subject by this, so that they agree.
        """
        if not (width > 0 and height > 0):
            raise ValueError(f"a subject needs a positive size, not {width} x {height}")
        return min(self.subject_height / height, self.subject_width / width)
