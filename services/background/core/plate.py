"""The empty scene through its camera: textured ground in perspective, out-of-focus backdrop, lens and grain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.imaging import linear_to_srgb
from lensora.core.scene import KeyLight
from services.background.core import lens
from services.background.core.backdrops import Backdrop, Canvas
from services.background.core.framing import RayGrid
from services.background.core.noise import Check, FloatArray, NoiseKit, smoothstep
from services.background.core.surfaces import Patch, Surface

_BAND_PIXELS = 48 * 1024
_VERTICAL_SAMPLES = 4
_SHOULDER = 0.80
"""Display value above which highlights roll off."""

_GRAIN = 0.9 / 255
"""Standard deviation of the grain in the square root of display values."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the plate shows, before any light is computed."""

    surface: Surface
    backdrop: Backdrop
    tint: FloatArray
    """(3,) multiplies the surface's albedo."""
    edge: float
    """Metres behind the subject at which the ground ends."""
    edge_softness: float
    """Metres over which it ends: tiny for a table, large for a sweep of paper."""
    gloss: float
    """Fresnel reflectance at normal incidence; 0 for a matt ground."""
    blur_degrees: float
    """Spread of the ground's reflections, degrees."""
    lamp_distance: float
    """Metres from the subject to the key light, for its fall-off over the ground; large for the sun."""
    dapple: float
    """How much leaves or blinds dim the key here and there, 0 to 1; never at the subject."""
    aperture: float
    """Diameter of the lens opening, metres."""
    backdrop_distance: float
    """Metres from the camera to what is behind, for its blur."""


@dataclass(frozen=True, slots=True)
class Light:
    """What falls on the open ground."""

    environment_up: NDArray[np.float64]
    """(3,) irradiance of the environment on the ground."""
    key: KeyLight


def paint_plate(
    stage: Stage,
    light: Light,
    rays: RayGrid,
    kit: NoiseKit,
    focus: float,
    exposure: float,
    tick: Callable[[float], None],
) -> NDArray[np.uint8]:
    """Photograph the empty stage.

    Args:
        stage: what there is.
        light: what falls on it.
        rays: the camera and the size.
        kit: noise of the scene's seed.
        focus: metres to the plane in focus.
        exposure: linear gain from radiance to display.
        tick: called with the fraction done, at least every 200 ms of work.

    Returns:
        (height, width, 3) 8-bit sRGB.
    """
    backdrop = _backdrop(stage, rays, kit, focus, partial(tick, 0.0))
    tick(0.2)
    ground = _ground(stage, light, rays, kit, lambda done: tick(0.2 + 0.6 * done))
    depth = rays.ground_depth()
    depth = np.minimum(depth, rays.camera.position[2] + stage.edge)
    radii = lens.blur_radius(depth, focus, stage.aperture, rays.focal)
    ground = lens.row_blur(ground, radii, partial(tick, 0.8))
    tick(0.9)
    gain = np.float32(exposure) * _vignette(rays)
    backdrop *= 1.0 - ground[..., 3:]
    return _develop(gain * (ground[..., :3] + backdrop), kit, partial(tick, 0.9))


def _backdrop(stage: Stage, rays: RayGrid, kit: NoiseKit, focus: float, check: Check) -> FloatArray:
    """(h, w, 3) radiance behind the ground, blurred; painted at half size, as nothing in it is sharp."""
    half = RayGrid(rays.camera, (rays.width + 1) // 2, (rays.height + 1) // 2)
    canvas = Canvas(*half.directions(), kit, check)
    stage.backdrop(canvas)
    radius = float(lens.blur_radius(np.array(stage.backdrop_distance), focus, stage.aperture, half.focal))
    blurred = lens.disc_blur(canvas.radiance, radius)
    return np.asarray(cv2.resize(blurred, (rays.width, rays.height), interpolation=cv2.INTER_CUBIC), np.float32)


def _reflection(stage: Stage, rays: RayGrid, kit: NoiseKit, check: Check) -> FloatArray:
    """(h, w, 3) radiance that the ground mirrors: the backdrop upside down, spread by the ground's roughness."""
    eighth = RayGrid(rays.camera, max(16, rays.width // 8), max(16, rays.height // 8))
    azimuth, elevation = eighth.directions()
    canvas = Canvas(azimuth, np.abs(elevation), kit, check)
    stage.backdrop(canvas)
    spread = stage.blur_degrees / eighth.camera.vertical_fov_degrees * eighth.height
    # microfacets stretch grazing reflections along the line of sight (Phong lobes look round, GGX ones do not)
    blurred = cv2.GaussianBlur(
        canvas.radiance, (0, 0), sigmaX=spread * 0.5, sigmaY=spread, borderType=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.resize(blurred, (rays.width, rays.height), interpolation=cv2.INTER_CUBIC), np.float32)


def _ground(stage: Stage, light: Light, rays: RayGrid, kit: NoiseKit, tick: Callable[[float], None]) -> FloatArray:
    """(h, w, 4) radiance of the ground, premultiplied by its coverage."""
    ground = np.zeros((rays.height, rays.width, 4), np.float32)
    depth = rays.ground_depth(_VERTICAL_SAMPLES)
    _, ray_z = rays.rows(_VERTICAL_SAMPLES)
    z = np.where(
        np.isfinite(depth), rays.camera.position[2] + np.where(np.isfinite(depth), depth, 0.0) * ray_z, -np.inf
    )
    first = int(np.argmax(z > -(stage.edge + stage.edge_softness))) // _VERTICAL_SAMPLES
    mirrored = _reflection(stage, rays, kit, partial(tick, 0.0)) if stage.gloss > 0 else None
    band = max(8, _BAND_PIXELS // rays.width)
    for top in range(first, rays.height, band):
        bottom = min(rays.height, top + band)
        rows = slice(top * _VERTICAL_SAMPLES, bottom * _VERTICAL_SAMPLES)
        radiance = _shade(stage, light, rays, kit, depth[rows], z[rows])
        if mirrored is not None:
            fresnel = _fresnel(stage.gloss, rays.rows()[0][top:bottom], rays)
            radiance[..., :3] += fresnel * mirrored[top:bottom] * radiance[..., 3:]
        ground[top:bottom] = radiance
        tick((bottom - first) / (rays.height - first))
    return ground


def _fresnel(gloss: float, ray_y: NDArray[np.float64], rays: RayGrid) -> FloatArray:
    """(h, w, 1) Schlick's Fresnel term, softened as a rough surface softens it (Lagarde 2011)."""
    cosine = -ray_y[:, None] / np.sqrt(1.0 + np.square(rays.columns()))[None, :]
    fresnel = gloss + (0.45 - gloss) * np.power(1.0 - np.clip(cosine, 0.0, 1.0), 5)
    return np.asarray(fresnel, np.float32)[..., None]


def _shade(
    stage: Stage, light: Light, rays: RayGrid, kit: NoiseKit, depth: NDArray[np.float64], z: NDArray[np.float64]
) -> FloatArray:
    """(rows, w, 4) one band of ground, averaged over its vertical samples."""
    x = np.multiply.outer(depth.astype(np.float32), rays.columns())
    points = np.broadcast_to(z.astype(np.float32)[:, None], x.shape).copy()
    step_x = float(np.median(depth)) / rays.focal
    patch = Patch(x, points, step_x)
    texture = stage.surface(patch, kit)
    step_z = np.gradient(z)
    slope_x = np.gradient(texture.relief, axis=1) / (depth / rays.focal).astype(np.float32)[:, None]
    slope_z = np.gradient(texture.relief, axis=0) / step_z.astype(np.float32)[:, None]
    towards = light.key.direction
    facing = (towards[1] - slope_x * towards[0] - slope_z * towards[2]) / np.sqrt(1.0 + slope_x**2 + slope_z**2)
    lit = np.maximum(facing, 0.0) * _key_pattern(stage, light.key, patch, kit)
    received = np.multiply.outer(lit, np.array(light.key.irradiance, np.float32))
    received += light.environment_up.astype(np.float32)
    cover = smoothstep(-(stage.edge + stage.edge_softness), -stage.edge, points)[..., None]
    radiance = texture.albedo * stage.tint * received * np.float32(1.0 / math.pi) * cover
    both = np.concatenate([radiance, cover], axis=2)
    return np.asarray(both.reshape(-1, _VERTICAL_SAMPLES, rays.width, 4).mean(axis=1), np.float32)


def _key_pattern(stage: Stage, key: KeyLight, patch: Patch, kit: NoiseKit) -> FloatArray:
    """(h, w) the key's strength over the ground, 1 at the subject: inverse-square fall-off, and dappled shade."""
    lamp = stage.lamp_distance * np.array(key.direction, np.float32)
    squared = np.square(patch.x - lamp[0]) + lamp[1] ** 2 + np.square(patch.z - lamp[2])
    strength = np.minimum(stage.lamp_distance**2 / squared, 2.0)
    if stage.dapple > 0:
        shade = smoothstep(-0.5, 0.6, patch.turned(35.0).noise(kit.smooth, (1.0, 2.4), 0.23))
        subject = np.exp(-(np.square(patch.x) + np.square(patch.z)) / 0.16**2)
        strength = strength * (1.0 - stage.dapple * (1.0 - np.maximum(shade, subject)))
    return np.asarray(strength, np.float32)


def _vignette(rays: RayGrid) -> FloatArray:
    """(h, w, 1) fall-off towards the corners: the square of the cosine off the axis (a lens designed to beat cos⁴)."""
    up = (rays.height / 2 - np.arange(rays.height) - 0.5) / rays.focal
    return np.asarray(1.0 / (1.0 + np.square(rays.columns()) + np.square(up)[:, None]), np.float32)[..., None]


def _develop(linear: FloatArray, kit: NoiseKit, check: Check) -> NDArray[np.uint8]:
    """Roll off the highlights as film does, and encode; grain hides the 8-bit steps."""
    grain = kit.rng(1).standard_normal(linear.shape[:2], dtype=np.float32) * np.float32(_GRAIN)
    developed = np.empty(linear.shape, np.uint8)
    room = np.float32(1.0 - _SHOULDER)
    band = max(8, 2 * _BAND_PIXELS // linear.shape[1])
    for top in range(0, len(linear), band):
        part = linear[top : top + band]
        over = np.maximum(part - np.float32(_SHOULDER), 0.0)
        toned = np.minimum(part, np.float32(_SHOULDER)) + room * (1.0 - np.exp(-over / room))
        # grain is even to the eye, so it is added to the square root of light, close to the code values
        grainy = np.sqrt(np.maximum(toned, 0.0)) + grain[top : top + band, :, None]
        developed[top : top + band] = linear_to_srgb(np.square(np.maximum(grainy, 0.0)))
        check()
    return developed
