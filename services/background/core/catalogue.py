"""The scenes there are: what each looks like, how it is lit, and the words that ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from services.background.core import backdrops, surfaces
from services.background.core.backdrops import WHITE
from services.background.core.plate import Stage
from services.background.core.surfaces import rgb


@dataclass(frozen=True, slots=True)
class KeySpec:
    """The key light, before its strength is known."""

    azimuth_degrees: float
    """0 is behind the subject, grows towards +X; beyond ±90 it lights the side the camera sees."""
    elevation_degrees: float
    colour: tuple[float, float, float]
    """Linear, relative."""
    to_fill: float
    """Light that the white card gets from the key, over what it gets from the environment."""
    angular_radius_degrees: float


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """One entry of the catalogue."""

    name: str
    title: str
    """For people: "a marble countertop in soft natural light"."""
    phrases: tuple[str, ...]
    """Examples of prompts that mean this scene."""
    stage: Stage
    key: KeySpec
    roughness: float
    card_level: float
    """Linear display value of the white card, 0.6 moody to 0.85 bright."""
    own_light: bool = False
    """Whether the light is the scene's very point (a sunset, a night), so that words do not change it."""
    coloured_paper: bool = False
    """Whether the ground is paper whose colour the words may choose."""
    elevation_degrees: float = 11.0
    vertical_fov_degrees: float = 28.0


_BLUSH = rgb(1.0, 0.74, 0.71)

STUDIO = SceneSpec(
    name="studio",
    title="a neutral photo studio",
    phrases=(
        "neutral grey photo studio",
        "plain white studio background",
        "professional product photo on a seamless backdrop",
        "packshot on white",
    ),
    stage=Stage(
        surfaces.seamless,
        backdrops.sweep,
        rgb(0.74, 0.74, 0.74),
        edge=0.2,
        edge_softness=2.8,
        gloss=0.0,
        blur_degrees=1.0,
        lamp_distance=6.0,
        dapple=0.0,
        aperture=0.035,
        backdrop_distance=4.0,
    ),
    key=KeySpec(-128.0, 46.0, (1.0, 1.0, 1.0), 1.0, 12.0),
    roughness=0.9,
    card_level=0.78,
)

PROMPTED: tuple[SceneSpec, ...] = (
    SceneSpec(
        name="marble-countertop",
        title="a marble countertop in soft natural light",
        phrases=(
            "on a marble countertop with soft natural light",
            "white marble table",
            "marble slab in a bright room by a window",
            "polished stone kitchen counter in daylight",
            "elegant bathroom vanity with marble",
        ),
        stage=Stage(
            surfaces.marble,
            backdrops.bright_room,
            WHITE,
            edge=0.85,
            edge_softness=0.004,
            gloss=0.03,
            blur_degrees=3.0,
            lamp_distance=1.7,
            dapple=0.30,
            aperture=0.042,
            backdrop_distance=4.5,
        ),
        key=KeySpec(-126.0, 36.0, (1.0, 0.975, 0.93), 1.1, 8.0),
        roughness=0.45,
        card_level=0.78,
    ),
    SceneSpec(
        name="rustic-wood",
        title="a rustic wooden table in a warm room",
        phrases=(
            "on a rustic wooden table",
            "old oak planks",
            "wooden desk in a warm room",
            "a cosy cafe table with warm lights",
            "rustic wood in a restaurant",
            "vintage timber surface",
        ),
        stage=Stage(
            surfaces.planks,
            backdrops.cafe,
            WHITE,
            edge=0.95,
            edge_softness=0.004,
            gloss=0.02,
            blur_degrees=5.0,
            lamp_distance=1.6,
            dapple=0.25,
            aperture=0.042,
            backdrop_distance=5.0,
        ),
        key=KeySpec(-122.0, 36.0, (1.0, 0.92, 0.80), 1.5, 7.0),
        roughness=0.55,
        card_level=0.68,
    ),
    SceneSpec(
        name="beach-sunset",
        title="a sandy beach at sunset",
        phrases=(
            "on a sandy beach at sunset",
            "sand by the sea at golden hour",
            "tropical beach with ocean waves",
            "desert dunes in evening light",
            "seaside at dusk",
        ),
        stage=Stage(
            surfaces.sand,
            backdrops.beach,
            WHITE,
            edge=4.0,
            edge_softness=1.0,
            gloss=0.0,
            blur_degrees=3.0,
            lamp_distance=1e3,
            dapple=0.0,
            aperture=0.036,
            backdrop_distance=60.0,
        ),
        key=KeySpec(-116.0, 21.0, (1.0, 0.76, 0.52), 1.3, 1.5),
        roughness=0.95,
        card_level=0.68,
        own_light=True,
        elevation_degrees=9.5,
        vertical_fov_degrees=30.0,
    ),
    SceneSpec(
        name="forest-floor",
        title="a mossy forest floor in daylight",
        phrases=(
            "on the forest floor in daylight",
            "moss in the woods with sunbeams",
            "on green grass in a garden",
            "meadow lawn in a park",
            "outdoors in nature among trees and leaves",
        ),
        stage=Stage(
            surfaces.moss,
            backdrops.forest,
            WHITE,
            edge=3.0,
            edge_softness=1.0,
            gloss=0.0,
            blur_degrees=3.0,
            lamp_distance=1e3,
            dapple=0.75,
            aperture=0.040,
            backdrop_distance=15.0,
        ),
        key=KeySpec(-124.0, 48.0, (1.0, 0.95, 0.82), 1.6, 2.0),
        roughness=0.95,
        card_level=0.68,
        elevation_degrees=10.0,
    ),
    SceneSpec(
        name="loft-night",
        title="a concrete loft at night above a neon city",
        phrases=(
            "concrete loft at night with neon city lights",
            "cyberpunk street with neon signs",
            "rooftop over the city skyline at night",
            "industrial concrete interior",
            "night club with coloured lights",
            "urban bokeh lights in the dark",
        ),
        stage=Stage(
            surfaces.concrete,
            backdrops.city_night,
            rgb(0.42, 0.42, 0.44),
            edge=1.1,
            edge_softness=0.005,
            gloss=0.05,
            blur_degrees=2.5,
            lamp_distance=0.9,
            dapple=0.0,
            aperture=0.048,
            backdrop_distance=30.0,
        ),
        key=KeySpec(-134.0, 36.0, (1.0, 0.86, 0.97), 2.4, 6.0),
        roughness=0.5,
        card_level=0.62,
        own_light=True,
        elevation_degrees=10.0,
    ),
    SceneSpec(
        name="linen-kitchen",
        title="a linen cloth in a bright kitchen",
        phrases=(
            "on a linen cloth in a bright kitchen",
            "breakfast table with a tablecloth",
            "country kitchen with sunlight",
            "white fabric in a bright airy home",
            "cotton textile in morning light",
        ),
        stage=Stage(
            surfaces.linen,
            backdrops.kitchen,
            WHITE,
            edge=0.80,
            edge_softness=0.006,
            gloss=0.0,
            blur_degrees=3.0,
            lamp_distance=1.9,
            dapple=0.30,
            aperture=0.042,
            backdrop_distance=4.5,
        ),
        key=KeySpec(124.0, 34.0, (1.0, 0.98, 0.94), 1.1, 8.0),
        roughness=0.95,
        card_level=0.80,
    ),
    SceneSpec(
        name="dark-slate",
        title="dark slate in moody light",
        phrases=(
            "on dark slate with moody light",
            "black stone surface with dramatic lighting",
            "premium black backdrop",
            "low key moody photography on black",
            "volcanic rock in shadow",
        ),
        stage=Stage(
            surfaces.slate,
            backdrops.dark_room,
            WHITE,
            edge=1.2,
            edge_softness=0.005,
            gloss=0.04,
            blur_degrees=7.0,
            lamp_distance=1.0,
            dapple=0.0,
            aperture=0.040,
            backdrop_distance=5.0,
        ),
        key=KeySpec(-120.0, 38.0, (1.0, 0.98, 0.96), 3.0, 6.0),
        roughness=0.6,
        card_level=0.64,
        own_light=True,
    ),
    SceneSpec(
        name="pastel-studio",
        title="a pastel studio",
        phrases=(
            "pastel studio background",
            "soft pink seamless backdrop",
            "plain coloured paper background",
            "mint or peach minimal backdrop",
            "playful candy coloured set",
        ),
        stage=Stage(
            surfaces.seamless,
            partial(backdrops.sweep, colour=_BLUSH),
            _BLUSH,
            edge=0.2,
            edge_softness=2.8,
            gloss=0.0,
            blur_degrees=1.0,
            lamp_distance=6.0,
            dapple=0.0,
            aperture=0.035,
            backdrop_distance=4.0,
        ),
        key=KeySpec(-126.0, 44.0, (1.0, 1.0, 1.0), 1.2, 5.0),
        roughness=0.9,
        card_level=0.80,
        coloured_paper=True,
    ),
)
