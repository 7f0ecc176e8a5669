"""What the ground is made of: procedural albedo and relief, evaluated where the camera looks.

Each surface is a function of a ``Patch`` of the plane y = 0. Sizes are in metres, albedo is linear Rec.709. The
recipes follow Ebert et al., "Texturing & Modeling: A Procedural Approach" (3rd ed., 2002): noise, domain warping,
and thresholds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.background.core.noise import FloatArray, NoiseField, NoiseKit, mix, smoothstep


@dataclass(frozen=True, slots=True)
class Patch:
    """Sample points on the ground, row by row away from or towards the camera."""

    x: FloatArray
    """(h, w) metres."""
    z: FloatArray
    """(h, w) metres, constant along a row."""
    footprint: float
    """Metres between neighbouring samples: detail finer than this must be averaged away."""

    def noise(self, field: NoiseField, size: tuple[float, float], shift: float = 0.0) -> FloatArray:
        """(h, w) samples of ``field`` whose tile is ``size`` = (along x, along z) metres large."""
        u, v = self.x / np.float32(size[0]) + np.float32(shift), self.z / np.float32(size[1]) + np.float32(shift * 0.7)
        return field.sample(u, v, self.footprint / min(size))

    def warped(self, dx: FloatArray, dz: FloatArray) -> Patch:
        """The same points, displaced by metres."""
        return Patch(self.x + dx, self.z + dz, self.footprint)

    def turned(self, degrees: float) -> Patch:
        """The same points in axes that are turned about +Y."""
        cosine, sine = (np.float32(f(np.radians(degrees))) for f in (np.cos, np.sin))
        return Patch(cosine * self.x + sine * self.z, cosine * self.z - sine * self.x, self.footprint)


@dataclass(frozen=True, slots=True)
class Texture:
    """A surface's look at a patch's points."""

    albedo: FloatArray
    """(h, w, 3) linear reflectance."""
    relief: FloatArray
    """(h, w) metres above y = 0, for shading only."""


Surface = Callable[[Patch, NoiseKit], Texture]


def rgb(red: float, green: float, blue: float) -> FloatArray:
    """(3,) one linear colour."""
    return np.array((red, green, blue), dtype=np.float32)


def _vein(field: FloatArray, width: FloatArray | float) -> FloatArray:
    return np.asarray(np.exp(-np.square(field / width)), dtype=np.float32)


def marble(patch: Patch, kit: NoiseKit) -> Texture:
    """Polished white marble: grey veins along the zero lines of a warped field."""
    warp_x, warp_z = patch.noise(kit.smooth, (2.7, 2.7), 0.13), patch.noise(kit.smooth, (2.7, 2.7), 0.57)
    rough = patch.noise(kit.cloud, (0.5, 0.5), 0.3)
    bent = patch.turned(32.0).warped(0.07 * warp_x + 0.004 * rough, 0.07 * warp_z)
    presence = smoothstep(-0.6, 1.2, patch.noise(kit.smooth, (3.3, 3.3), 0.81))
    major = _vein(bent.noise(kit.smooth, (5.4, 2.2), 0.2), 0.045 + 0.12 * presence) * (0.25 + 0.75 * presence)
    minor = _vein(bent.noise(kit.smooth, (2.6, 1.4), 0.71), 0.035) * presence
    haze = smoothstep(-0.5, 2.2, bent.noise(kit.smooth, (5.1, 2.4), 0.44) + 0.25 * rough)
    tone = np.clip(0.34 * haze + 0.62 * major + 0.35 * minor, 0.0, 1.0)
    albedo = mix(rgb(0.82, 0.81, 0.795), rgb(0.27, 0.265, 0.27), tone)
    albedo *= (1.0 + 0.012 * patch.noise(kit.grain, (0.35, 0.35)))[..., None]
    return Texture(albedo, np.zeros_like(tone))


def planks(patch: Patch, kit: NoiseKit) -> Texture:
    """Old oak planks that run away from the camera: each with its own tone and grain, gaps between them."""
    board = patch.turned(4.0)
    width = 0.125
    place = board.x / np.float32(width) + np.float32(0.37)
    index = np.floor(place)
    across = place - index
    random = np.mod(np.sin(index * 127.1 + kit.rng_seed % 97) * 43758.547, 1.0).astype(np.float32)
    own = Patch(board.x, board.z + random * np.float32(7.3), board.footprint)
    bow = own.noise(kit.swell, (1.1, 5.2), 0.37)
    bent = own.warped(0.013 * bow + 0.0012 * own.noise(kit.cloud, (0.5, 2.5), 0.5), np.zeros_like(bow))
    rings = 0.5 + 0.5 * np.sin(bent.x * np.float32(2 * np.pi / 0.017) + 4.0 * bent.noise(kit.swell, (0.8, 4.4), 0.6))
    fibre = bent.noise(kit.cloud, (0.10, 2.4), 0.2)
    pores = smoothstep(1.0, 2.2, bent.noise(kit.grain, (0.16, 3.2), 0.9))
    tone = np.clip(0.46 + 0.16 * fibre + 0.17 * (rings - 0.5) + 0.42 * (random - 0.5) - 0.30 * pores, 0.0, 1.0)
    tone += 0.10 * own.noise(kit.smooth, (1.8, 3.6), 0.15)
    albedo = mix(rgb(0.075, 0.037, 0.019), rgb(0.42, 0.25, 0.135), np.clip(tone, 0.0, 1.0).astype(np.float32))
    edge = np.minimum(across, 1.0 - across) * width
    gap = smoothstep(0.0012, 0.0032, edge + 0.0006 * own.noise(kit.cloud, (0.3, 0.3)))
    bevel = smoothstep(0.0, 0.010, edge)
    albedo *= (0.10 + 0.90 * gap)[..., None] * (0.80 + 0.20 * bevel)[..., None]
    return Texture(albedo.astype(np.float32), 0.0022 * bevel + 0.00022 * fibre - 0.0004 * pores)


def sand(patch: Patch, kit: NoiseKit) -> Texture:
    """Dry beach sand: hollows, fading wind ripples, grains."""
    hollows = patch.noise(kit.swell, (1.5, 1.2), 0.4)
    wander = patch.noise(kit.swell, (4.6, 4.6), 0.1)
    phase = patch.turned(12.0).z * np.float32(2 * np.pi / 0.055) + 5.0 * wander
    ripple = np.sin(phase + 0.6 * np.sin(phase)) * smoothstep(-0.9, 1.1, patch.noise(kit.smooth, (4.1, 3.1), 0.8))
    grains, blotch = patch.noise(kit.grain, (0.26, 0.26), 0.3), patch.noise(kit.cloud, (0.9, 0.9), 0.6)
    tone = 1.0 + 0.03 * hollows + 0.035 * blotch + 0.15 * grains
    albedo = rgb(0.54, 0.43, 0.31) * tone[..., None]
    dark = smoothstep(2.2, 3.0, patch.noise(kit.grain, (0.31, 0.31), 0.77))
    albedo = mix(albedo, rgb(0.18, 0.13, 0.10), 0.6 * dark)
    relief = 0.0040 * hollows + 0.0010 * ripple + 0.00009 * grains
    return Texture(np.clip(albedo, 0.0, 0.9), relief.astype(np.float32))


def moss(patch: Patch, kit: NoiseKit) -> Texture:
    """A forest floor: cushions of moss, with dark soil and brown litter between them."""
    cushions = patch.noise(kit.smooth, (1.65, 1.65), 0.3) + 0.5 * patch.noise(kit.cloud, (0.30, 0.30), 0.7)
    tufts = patch.noise(kit.cloud, (0.075, 0.075), 0.2)
    tips = patch.noise(kit.grain, (0.30, 0.30), 0.5)
    height = 0.5 * cushions + 0.55 * tufts + 0.35 * tips
    lush = smoothstep(-1.5, 1.6, height)
    hue = smoothstep(-1.6, 1.6, patch.noise(kit.smooth, (2.4, 2.4), 0.9))
    green = mix(
        mix(rgb(0.014, 0.023, 0.009), rgb(0.115, 0.155, 0.045), lush), rgb(0.24, 0.235, 0.085), lush * lush * hue
    )
    soil = mix(rgb(0.022, 0.014, 0.008), rgb(0.17, 0.105, 0.055), smoothstep(-1.2, 2.0, tufts + 0.6 * tips))
    bare = 0.85 * smoothstep(0.5, 1.6, patch.noise(kit.smooth, (3.6, 3.6), 0.55) - 0.35 * cushions + 0.25 * tufts)
    relief = 0.010 * cushions + 0.0030 * tufts + 0.0007 * tips
    return Texture(mix(green, soil, bare), (relief * (1.0 - 0.6 * bare)).astype(np.float32))


def concrete(patch: Patch, kit: NoiseKit) -> Texture:
    """Trowelled concrete: blotches, fine speckle, pin holes."""
    blotch = patch.noise(kit.cloud, (1.4, 1.4), 0.2)
    streak = patch.turned(20.0).noise(kit.cloud, (1.6, 0.5), 0.6)
    speckle = patch.noise(kit.grain, (0.4, 0.4), 0.4)
    holes = smoothstep(2.5, 3.1, patch.noise(kit.grain, (1.3, 1.3), 0.12))
    tone = 1.0 + 0.13 * blotch + 0.07 * streak + 0.035 * speckle
    albedo = rgb(0.245, 0.24, 0.235) * np.clip(tone, 0.3, 2.0)[..., None] * (1.0 - 0.65 * holes)[..., None]
    return Texture(
        albedo.astype(np.float32), (0.00025 * blotch + 0.00004 * speckle - 0.0008 * holes).astype(np.float32)
    )


def linen(patch: Patch, kit: NoiseKit) -> Texture:
    """A washed linen cloth: plain weave of uneven threads, soft creases."""
    cloth = patch.turned(-9.0)
    pitch = 0.0017
    wobble = cloth.noise(kit.cloud, (0.25, 0.25), 0.7)
    warp = np.sin((cloth.x + 0.0004 * wobble) * np.float32(2 * np.pi / pitch))
    weft = np.sin((cloth.z + 0.0004 * wobble) * np.float32(2 * np.pi / pitch))
    seen = float(np.clip(1.6 - patch.footprint / pitch * 2.0, 0.0, 1.0))
    slubs = cloth.noise(kit.cloud, (0.5, 0.012), 0.1) + cloth.noise(kit.cloud, (0.012, 0.5), 0.6)
    tone = 1.0 + 0.028 * slubs + seen * 0.07 * warp * weft
    albedo = rgb(0.74, 0.69, 0.61) * np.clip(tone, 0.5, 1.3)[..., None]
    fold = cloth.turned(38.0).noise(kit.swell, (2.6, 0.9), 0.35)
    crease = np.abs(cloth.turned(-52.0).noise(kit.swell, (2.2, 0.8), 0.85))
    relief = 0.0036 * fold - 0.0014 * np.minimum(crease, 0.8) + 0.00005 * wobble
    return Texture(albedo.astype(np.float32), relief.astype(np.float32))


def slate(patch: Patch, kit: NoiseKit) -> Texture:
    """Dark split slate: thin broken layers, faint mineral streaks."""
    stone = patch.turned(-17.0)
    rough = stone.noise(kit.cloud, (1.1, 0.8), 0.25)
    layers = stone.noise(kit.smooth, (2.7, 1.5), 0.6) * 2.0 + 0.16 * rough
    floor = np.floor(layers)
    terrace = floor + smoothstep(0.0, 0.07, layers - floor)
    fine = stone.noise(kit.grain, (0.5, 0.3), 0.4)
    tone = 1.0 + 0.12 * rough + 0.05 * fine + 0.16 * np.sin(terrace * 2.1)
    albedo = rgb(0.047, 0.050, 0.055) * np.clip(tone, 0.2, 2.2)[..., None]
    albedo = mix(albedo, rgb(0.11, 0.10, 0.088), 0.5 * smoothstep(0.9, 2.4, stone.noise(kit.smooth, (1.9, 3.3), 0.33)))
    relief = 0.0016 * terrace + 0.0022 * stone.noise(kit.smooth, (0.9, 0.7), 0.9) + 0.00035 * rough
    return Texture(albedo, relief.astype(np.float32))


def seamless(patch: Patch, kit: NoiseKit) -> Texture:
    """Matt background paper: next to nothing to see, which is the point."""
    tooth = patch.noise(kit.grain, (0.5, 0.5), 0.3)
    cloud = patch.noise(kit.cloud, (2.0, 2.0), 0.6)
    tone = 1.0 + 0.006 * tooth + 0.004 * cloud
    return Texture((rgb(0.70, 0.70, 0.70) * tone[..., None]).astype(np.float32), np.zeros_like(tooth))
