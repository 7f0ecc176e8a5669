"""What is behind and around the ground: rooms, skies and lights, painted over directions.

A backdrop is one function from directions to radiance. The same function paints the plate's out-of-focus background
and the environment that lights the subject, so the two cannot disagree. Everything in it will be blurred to a
degree or more, which is why simple shapes suffice.

Azimuth and elevation are degrees; azimuth 0 is −Z, right behind the subject, and grows towards +X. Radiance is
linear Rec.709 in a unit of the painter's own in which a white wall is about 1; exposure is set afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from services.background.core.noise import Check, FloatArray, NoiseField, NoiseKit, mix, smoothstep
from services.background.core.surfaces import rgb

WHITE = rgb(1.0, 1.0, 1.0)


class Canvas:
    """Directions, and the radiance painted on them so far."""

    def __init__(self, azimuth: FloatArray, elevation: FloatArray, kit: NoiseKit, check: Check) -> None:
        """Start black.

        Args:
            azimuth: (h, w) float32 degrees.
            elevation: (h, w) float32 degrees.
            kit: noise of the scene's seed.
            check: called at each stroke of the brush.
        """
        self.azimuth, self.elevation, self.kit, self._check = azimuth, elevation, kit, check
        self.radiance = np.zeros((*azimuth.shape, 3), np.float32)
        self._step = float(abs(elevation[1, 0] - elevation[0, 0]))

    def gradient(self, stops: Sequence[tuple[float, FloatArray]]) -> None:
        """Fill with colours (3,) that change with elevation; ``stops`` ascend."""
        at = [elevation for elevation, _ in stops]
        for channel in range(3):
            values = [float(colour[channel]) for _, colour in stops]
            self.radiance[..., channel] = np.interp(self.elevation, at, values)

    def noise(self, field: NoiseField, size: tuple[float, float], shift: float) -> FloatArray:
        """(h, w) samples of ``field`` whose tile is ``size`` degrees wide and high."""
        wide = 360.0 / max(1, round(360.0 / size[0]))  # a whole number of tiles around: no seam behind the camera
        u, v = self.azimuth / wide + shift, self.elevation / size[1] + shift * 0.7
        return field.sample(u.astype(np.float32), v.astype(np.float32), self._step / min(wide, size[1]))

    def cover(self, colour: FloatArray, mask: FloatArray) -> None:
        """Paint ``colour`` over what is there, by ``mask`` (h, w) in [0, 1]."""
        self._check()
        touched = np.flatnonzero(mask.any(axis=0))
        if touched.size:
            columns = slice(int(touched[0]), int(touched[-1]) + 1)
            part = colour[:, columns] if colour.ndim == 3 else colour
            self.radiance[:, columns] = mix(self.radiance[:, columns], part, mask[:, columns])

    def box(self, left: float, right: float, low: float, high: float, soft: float = 0.3) -> FloatArray:
        """Mask of a rectangle of directions; its edges are ``soft`` degrees wide."""
        across = np.minimum(self.azimuth - left, right - self.azimuth)
        up = np.minimum(self.elevation - low, high - self.elevation)
        return smoothstep(-soft / 2, soft / 2, np.minimum(across, up))

    def oval(self, azimuth: float, elevation: float, wide: float, high: float, soft: float = 0.2) -> FloatArray:
        """Mask of an ellipse with half axes ``wide``, ``high``; ``soft`` is the edge's share of the radius."""
        distance = np.hypot((self.azimuth - azimuth) / wide, (self.elevation - elevation) / high)
        return smoothstep(1.0 + soft / 2, 1.0 - soft / 2, distance)

    def glow(self, azimuth: float, elevation: float, spread: float, colour: FloatArray) -> None:
        """Add a Gaussian of light with standard deviation ``spread``; wraps around behind the camera."""
        self._check()
        turn = np.mod(self.azimuth - azimuth + 180.0, 360.0) - 180.0
        turn *= np.cos(np.radians(self.elevation))
        falloff = np.exp(-0.5 * (np.square(turn) + np.square(self.elevation - elevation)) / spread**2)
        self.radiance += falloff[..., None] * colour

    def bulb(self, azimuth: float, elevation: float, spread: float, colour: FloatArray) -> None:
        """``glow`` for small lights away from the seam behind the camera: touches only the pixels near it."""
        self._check()
        near = (np.abs(self.azimuth - azimuth) < 4 * spread) & (np.abs(self.elevation - elevation) < 4 * spread)
        rows, columns = np.nonzero(near)
        distance = np.square(self.azimuth[rows, columns] - azimuth) + np.square(
            self.elevation[rows, columns] - elevation
        )
        self.radiance[rows, columns] += np.exp(-0.5 * distance / spread**2)[:, None] * colour


Backdrop = Callable[[Canvas], None]


def _bulbs(
    canvas: Canvas,
    purpose: int,
    count: int,
    span: tuple[float, float, float, float],
    palette: FloatArray,
    spread: float,
) -> None:
    """Scatter small lights over ``span`` = (left, right, low, high), coloured from ``palette`` (n, 3)."""
    rng = canvas.kit.rng(purpose)
    for _ in range(count):
        azimuth, elevation = rng.uniform(span[0], span[1]), rng.uniform(span[2], span[3])
        colour = palette[rng.integers(len(palette))] * np.float32(rng.uniform(0.35, 1.0))
        canvas.bulb(azimuth, elevation, spread * rng.uniform(0.7, 1.3), colour)


def _plant(canvas: Canvas, azimuth: float, low: float, high: float, wide: float, colour: FloatArray) -> None:
    """Leaves of a pot plant: an oval broken up by noise."""
    middle, half = (low + high) / 2, (high - low) / 2
    body = canvas.oval(azimuth, middle, wide, half, 0.8)
    leaves = smoothstep(-0.3, 0.5, canvas.noise(canvas.kit.smooth, (60, 48), 0.1 + azimuth / 90) + 1.6 * (body - 0.5))
    light = smoothstep(-1.5, 2.0, canvas.noise(canvas.kit.cloud, (14.0, 14.0), 0.4))
    canvas.cover(mix(colour * 0.35, colour * 1.8, light), leaves * smoothstep(0.0, 0.25, body))


def _window(
    canvas: Canvas, left: float, right: float, low: float, high: float, sky: FloatArray, frame: FloatArray
) -> None:
    """A window with one mullion and one bar."""
    canvas.cover(frame, canvas.box(left - 0.7, right + 0.7, low - 0.7, high + 0.7))
    canvas.cover(sky, canvas.box(left, right, low, high))
    middle, bar = (left + right) / 2, low + (high - low) * 0.62
    canvas.cover(
        frame,
        np.maximum(canvas.box(middle - 0.35, middle + 0.35, low, high), canvas.box(left, right, bar - 0.3, bar + 0.3)),
    )


def sweep(canvas: Canvas, colour: FloatArray = WHITE) -> None:
    """A paper sweep that floor and wall share, a pool of light on it, and a softbox to the left of the camera."""
    canvas.gradient(
        [
            (-90, rgb(0.50, 0.50, 0.50)),
            (0, rgb(0.46, 0.46, 0.46)),
            (40, rgb(0.30, 0.30, 0.30)),
            (90, rgb(0.24, 0.24, 0.24)),
        ]
    )
    canvas.glow(-5.0, 1.0, 15.0, rgb(0.20, 0.20, 0.20))
    canvas.glow(0.0, -12.0, 38.0, rgb(0.28, 0.28, 0.28))
    canvas.radiance *= colour
    canvas.glow(-128.0, 45.0, 16.0, rgb(3.0, 3.0, 3.0))
    canvas.glow(115.0, 25.0, 22.0, rgb(0.7, 0.7, 0.7))


def bright_room(canvas: Canvas) -> None:
    """A white room: a window to the left of the picture, a shelf with pots to the right, daylight from the left."""
    canvas.gradient(
        [
            (-90, rgb(0.34, 0.31, 0.28)),
            (-14, rgb(0.50, 0.47, 0.43)),
            (-4, rgb(0.66, 0.635, 0.60)),
            (25, rgb(0.66, 0.64, 0.61)),
            (90, rgb(0.60, 0.59, 0.57)),
        ]
    )
    canvas.glow(-22.0, 2.0, 22.0, rgb(0.72, 0.71, 0.69))
    canvas.glow(20.0, 4.0, 22.0, rgb(0.25, 0.24, 0.22))
    _window(canvas, -26.0, -10.5, -7.0, 26.0, rgb(3.0, 3.15, 3.3), rgb(1.0, 0.99, 0.97))
    garden = smoothstep(0.0, 1.4, canvas.noise(canvas.kit.smooth, (60.0, 45.0), 0.8)) * canvas.box(
        -26.0, -10.5, -7.0, 3.0, 4.0
    )
    canvas.cover(rgb(1.15, 1.5, 0.95), 0.75 * garden)
    canvas.cover(rgb(0.42, 0.33, 0.24), canvas.box(7.0, 40.0, -5.9, -5.0))
    for at, wide, top, colour in (
        (9.6, 1.4, -2.0, rgb(0.72, 0.42, 0.27)),
        (13.2, 1.0, -0.2, rgb(1.05, 1.0, 0.95)),
        (24.5, 1.6, -2.2, rgb(0.34, 0.42, 0.45)),
        (28.5, 0.8, 0.4, rgb(0.78, 0.66, 0.50)),
    ):
        canvas.cover(colour, canvas.box(at - wide, at + wide, -5.1, top))
    _plant(canvas, 18.5, -4.4, 6.5, 3.8, rgb(0.17, 0.26, 0.11))
    canvas.glow(-118.0, 36.0, 20.0, rgb(2.4, 2.5, 2.6))


def cafe(canvas: Canvas) -> None:
    """A warm, dim room: hanging bulbs, a window far to the left."""
    canvas.gradient(
        [
            (-90, rgb(0.05, 0.03, 0.02)),
            (-13, rgb(0.085, 0.05, 0.03)),
            (0, rgb(0.20, 0.12, 0.07)),
            (30, rgb(0.16, 0.10, 0.06)),
            (90, rgb(0.09, 0.06, 0.04)),
        ]
    )
    shade = smoothstep(-1.5, 1.5, canvas.noise(canvas.kit.smooth, (180, 120), 0.3))
    canvas.radiance *= (0.6 + 0.7 * shade)[..., None]
    _window(canvas, -33.0, -15.5, -7.0, 22.0, rgb(1.1, 0.95, 0.74), rgb(0.10, 0.06, 0.04))
    canvas.cover(rgb(0.07, 0.04, 0.025), canvas.box(4.0, 60.0, -40.0, -7.0, 0.6) * 0.85)
    for at, top in ((8.0, -3.6), (11.0, -4.4), (15.5, -3.0), (20.0, -4.0)):
        canvas.cover(rgb(0.26, 0.15, 0.08), canvas.box(at - 0.8, at + 0.8, -7.0, top))
    _bulbs(canvas, 11, 16, (-13.0, 34.0, -4.5, 5.0), np.array([[26.0, 12.0, 3.6], [18.0, 9.0, 3.0]], np.float32), 0.12)
    canvas.glow(-115.0, 38.0, 18.0, rgb(2.0, 1.75, 1.35))
    canvas.glow(60.0, 20.0, 25.0, rgb(0.35, 0.2, 0.1))


def beach(canvas: Canvas) -> None:
    """Sea and a low sun's sky; the sun itself is outside the picture, to the left."""
    canvas.gradient(
        [
            (-90, rgb(0.30, 0.22, 0.16)),
            (-6.0, rgb(0.40, 0.31, 0.25)),
            (-0.3, rgb(1.25, 0.66, 0.30)),
            (1.5, rgb(1.15, 0.56, 0.28)),
            (4.5, rgb(0.88, 0.46, 0.34)),
            (9.0, rgb(0.56, 0.38, 0.42)),
            (25.0, rgb(0.28, 0.29, 0.42)),
            (90.0, rgb(0.13, 0.18, 0.31)),
        ]
    )
    streaks = smoothstep(0.2, 1.5, canvas.noise(canvas.kit.cloud, (100.0, 11.0), 0.35))
    canvas.cover(rgb(0.60, 0.30, 0.30), 0.65 * streaks * smoothstep(0.8, 3.0, canvas.elevation))
    canvas.glow(-24.0, 1.5, 11.0, rgb(1.5, 0.72, 0.22))
    sea = smoothstep(0.08, -0.08, canvas.elevation) * smoothstep(-4.6, -4.2, canvas.elevation)
    waves = canvas.noise(canvas.kit.cloud, (14.0, 1.6), 0.6)
    shine = np.exp(-np.square((canvas.azimuth + 19.0) / 15.0))
    water = mix(rgb(0.17, 0.18, 0.24), rgb(1.1, 0.60, 0.30), np.clip(0.22 + 0.5 * shine + 0.16 * waves, 0, 1))
    canvas.cover(water, sea)
    _bulbs(canvas, 41, 60, (-30.0, -4.0, -3.9, -0.4), np.array([[16.0, 9.0, 3.6]], np.float32), 0.10)
    canvas.cover(rgb(0.95, 0.74, 0.60), 0.6 * smoothstep(0.45, 0.1, np.abs(canvas.elevation + 4.3 + 0.2 * waves)))
    canvas.glow(-110.0, 14.0, 24.0, rgb(2.0, 1.12, 0.55))


def forest(canvas: Canvas) -> None:
    """Trees against a bright canopy: trunks, leaves, and the sky shining through as discs."""
    canvas.gradient(
        [
            (-90, rgb(0.05, 0.06, 0.02)),
            (-9, rgb(0.08, 0.10, 0.03)),
            (0, rgb(0.20, 0.26, 0.09)),
            (12, rgb(0.40, 0.50, 0.22)),
            (45, rgb(0.46, 0.56, 0.30)),
            (90, rgb(0.55, 0.66, 0.45)),
        ]
    )
    leaf = canvas.noise(canvas.kit.cloud, (34.0, 26.0), 0.2)
    canvas.radiance *= np.clip(0.85 + 0.45 * leaf, 0.15, 2.5)[..., None]
    canvas.glow(-18.0, 4.0, 13.0, rgb(0.55, 0.62, 0.28))
    rng = canvas.kit.rng(21)
    for at in rng.uniform(-60.0, 60.0, 13):
        wide, tone = rng.uniform(0.5, 1.9), rng.uniform(0.4, 1.0)
        lean = (canvas.elevation + 8.0) * np.float32(rng.uniform(-0.04, 0.04))
        trunk = smoothstep(wide + 0.3, wide - 0.3, np.abs(canvas.azimuth - at - lean)) * smoothstep(
            -8.0, -6.5, canvas.elevation
        )
        canvas.cover(rgb(0.062, 0.05, 0.034) * np.float32(tone * 1.6), 0.9 * trunk)
    _bulbs(
        canvas,
        22,
        70,
        (-48.0, 48.0, -4.0, 9.0),
        np.array([[5.5, 6.2, 2.6], [7.0, 7.0, 4.6], [3.2, 4.6, 1.3]], np.float32),
        0.13,
    )
    canvas.glow(-115.0, 52.0, 20.0, rgb(2.2, 2.3, 1.6))


def city_night(canvas: Canvas) -> None:
    """A dark loft with a wide window on the city: neon tubes inside, lights outside."""
    canvas.gradient(
        [
            (-90, rgb(0.008, 0.008, 0.012)),
            (-9, rgb(0.018, 0.018, 0.028)),
            (0, rgb(0.018, 0.017, 0.032)),
            (20, rgb(0.012, 0.012, 0.024)),
            (90, rgb(0.012, 0.012, 0.02)),
        ]
    )
    canvas.glow(-22.0, 1.0, 10.0, rgb(0.050, 0.005, 0.034))
    canvas.glow(26.0, 1.0, 10.0, rgb(0.002, 0.022, 0.045))
    palette = np.array(
        [[12.0, 7.0, 2.8], [11.0, 8.6, 5.8], [13.0, 2.0, 6.5], [2.2, 8.0, 13.0], [5.0, 6.0, 12.0]], np.float32
    )
    _bulbs(canvas, 31, 150, (-72.0, 72.0, -5.5, 7.0), 1.6 * palette, 0.11)
    canvas.cover(rgb(6.0, 0.5, 3.0), canvas.box(-27.0, -26.4, -6.5, 12.0, 0.2))
    canvas.cover(rgb(0.3, 3.4, 5.6), canvas.box(22.0, 33.0, 1.4, 1.9, 0.2))
    for at in (-66.0, -40.0, -14.0, 13.0, 38.0, 64.0):
        canvas.cover(rgb(0.012, 0.012, 0.016), canvas.box(at - 0.7, at + 0.7, -30.0, 40.0))
    canvas.cover(rgb(0.014, 0.013, 0.018), canvas.box(-180.0, 180.0, -60.0, -6.2, 0.6) * 0.92)
    canvas.glow(-120.0, 35.0, 22.0, rgb(1.0, 0.55, 0.85))
    canvas.glow(110.0, 20.0, 24.0, rgb(0.12, 0.5, 0.75))


def kitchen(canvas: Canvas) -> None:
    """A bright kitchen: window over the counter, pale cupboards, copper and green on the shelf."""
    canvas.gradient(
        [
            (-90, rgb(0.34, 0.29, 0.23)),
            (-12, rgb(0.50, 0.45, 0.38)),
            (-3, rgb(0.70, 0.67, 0.61)),
            (30, rgb(0.72, 0.70, 0.66)),
            (90, rgb(0.7, 0.69, 0.66)),
        ]
    )
    canvas.glow(14.0, 3.0, 24.0, rgb(0.80, 0.77, 0.70))
    canvas.cover(rgb(0.60, 0.72, 0.64), canvas.box(-80.0, 80.0, -40.0, -7.6, 0.4))
    for at in (-22.0, -8.0, 6.0, 20.0):
        canvas.cover(rgb(0.42, 0.50, 0.45), canvas.box(at - 0.25, at + 0.25, -40.0, -7.6))
    canvas.cover(rgb(0.95, 0.70, 0.46), canvas.box(-80.0, 80.0, -7.8, -6.8))
    _window(canvas, 8.0, 24.0, -4.6, 26.0, rgb(3.3, 3.4, 3.3), rgb(1.25, 1.22, 1.16))
    _plant(canvas, -20.5, -6.0, 4.5, 3.6, rgb(0.20, 0.30, 0.11))
    canvas.cover(rgb(1.05, 0.46, 0.20), canvas.box(-13.6, -10.8, -6.8, -3.6))
    canvas.cover(rgb(1.35, 1.3, 1.2), canvas.box(-9.9, -7.9, -6.8, -2.3))
    canvas.cover(rgb(0.80, 0.55, 0.32), canvas.box(-6.2, -5.2, -6.8, -0.9))
    canvas.glow(120.0, 40.0, 22.0, rgb(2.3, 2.35, 2.3))


def dark_room(canvas: Canvas) -> None:
    """Nearly black, with a soft cold light on the wall behind."""
    canvas.gradient(
        [
            (-90, rgb(0.010, 0.010, 0.011)),
            (-10, rgb(0.016, 0.017, 0.019)),
            (2, rgb(0.03, 0.032, 0.037)),
            (40, rgb(0.02, 0.021, 0.025)),
            (90, rgb(0.012, 0.012, 0.014)),
        ]
    )
    wall = smoothstep(-1.8, 2.2, canvas.noise(canvas.kit.cloud, (50.0, 40.0), 0.3))
    canvas.glow(7.0, -3.0, 11.0, rgb(0.075, 0.082, 0.095))
    canvas.radiance *= (0.7 + 0.6 * wall)[..., None]
    canvas.glow(-118.0, 45.0, 16.0, rgb(1.5, 1.5, 1.5))
    canvas.glow(70.0, 25.0, 10.0, rgb(0.30, 0.33, 0.40))
