"""From a catalogue entry to a ``Scene``: light first, then the exposure, then the picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lensora.core.scene import Ground, KeyLight, Scene
from services.background.core import lighting
from services.background.core.backdrops import Canvas
from services.background.core.catalogue import KeySpec, SceneSpec
from services.background.core.framing import RayGrid, panorama_directions, product_framing
from services.background.core.noise import Check, FloatArray, NoiseKit, mix, smoothstep
from services.background.core.plate import Light, paint_plate
from services.background.core.surfaces import Patch

_ENVIRONMENT_ROWS = 256


def build_scene(spec: SceneSpec, width: int, height: int, seed: int, tick: Callable[[float], None]) -> Scene:
    """Build everything that drawing a subject needs.

    Args:
        spec: which scene.
        width: plate width, pixels.
        height: plate height, pixels.
        seed: any integer; the same seed gives the same bytes.
        tick: called with the fraction done, at least every 200 ms of work.
    """
    kit = NoiseKit.from_seed(seed % 2**64, partial(tick, 0.0))
    tick(0.1)
    framing = product_framing(width / height, spec.elevation_degrees, spec.vertical_fov_degrees)
    albedo = mean_albedo(spec, kit)
    surroundings = _surroundings(spec, kit, partial(tick, 0.1))
    key = _key_light(spec.key, surroundings)
    environment = _with_ground(surroundings, spec, albedo, key)
    tick(0.2)
    exposure = lighting.exposure_for_card(environment, key, spec.card_level)
    focus = math.dist(framing.camera.position, framing.camera.target)
    light = Light(lighting.environment_irradiance(environment, lighting.UP), key)
    rays = RayGrid(framing.camera, width, height)
    plate = paint_plate(spec.stage, light, rays, kit, focus, exposure, lambda done: tick(0.2 + 0.8 * done))
    red, green, blue = (float(value) for value in albedo)
    return Scene(
        name=spec.name,
        plate=plate,
        environment=environment,
        key_light=key,
        ground=Ground((red, green, blue), spec.roughness),
        camera=framing.camera,
        subject_height=framing.subject_height,
        subject_width=framing.subject_width,
        focus_distance=focus,
        exposure=exposure,
    )


def mean_albedo(spec: SceneSpec, kit: NoiseKit) -> NDArray[np.float64]:
    """(3,) mean reflectance of the metre of ground around the subject."""
    x, z = np.meshgrid(*(np.linspace(-0.5, 0.5, 128, dtype=np.float32),) * 2)
    texture = spec.stage.surface(Patch(x, z, 1 / 128), kit)
    return np.asarray((texture.albedo * spec.stage.tint).mean(axis=(0, 1)), np.float64)


def _surroundings(spec: SceneSpec, kit: NoiseKit, check: Check) -> FloatArray:
    """(h, 2h, 3) the backdrop all around, painted at twice the size and averaged: small lights keep their power."""
    canvas = Canvas(*panorama_directions(2 * _ENVIRONMENT_ROWS), kit, check)
    spec.stage.backdrop(canvas)
    fine = canvas.radiance.reshape(_ENVIRONMENT_ROWS, 2, 2 * _ENVIRONMENT_ROWS, 2, 3)
    return np.asarray(fine.mean(axis=(1, 3)), np.float32)


def _key_light(spec: KeySpec, surroundings: FloatArray) -> KeyLight:
    """The key whose light on the white card is ``to_fill`` times the surroundings'."""
    direction = lighting.light_direction(spec.azimuth_degrees, spec.elevation_degrees)
    fill = float(lighting.environment_irradiance(surroundings, lighting.FACING_CAMERA) @ lighting.LUMINANCE)
    colour = np.array(spec.colour) / (np.array(spec.colour) @ lighting.LUMINANCE)
    red, green, blue = (float(value) for value in colour * spec.to_fill * fill / direction[2])
    return KeyLight(direction, (red, green, blue), spec.angular_radius_degrees)


def _with_ground(surroundings: FloatArray, spec: SceneSpec, albedo: NDArray[np.float64], key: KeyLight) -> FloatArray:
    """The surroundings, with the lit ground where the subject sees the ground."""
    received = lighting.environment_irradiance(surroundings, lighting.UP) + lighting.key_irradiance(key, lighting.UP)
    radiance = (albedo * received / math.pi).astype(np.float32)
    _, elevation = panorama_directions(_ENVIRONMENT_ROWS)
    # the ground's edge as seen from the middle of the subject
    rim = -math.degrees(math.atan2(0.15, spec.stage.edge))
    return mix(surroundings, radiance, smoothstep(rim + 1.0, rim - 1.0, np.asarray(elevation)))
