"""Single words of a prompt that change a scene's light, or the colour of its paper."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial

from services.background.core import backdrops
from services.background.core.catalogue import SceneSpec
from services.background.core.surfaces import rgb


@dataclass(frozen=True, slots=True)
class Mood:
    """A change of light."""

    words: frozenset[str]
    colour: tuple[float, float, float]
    """Multiplies the key's colour, linear."""
    to_fill: float
    """Multiplies the key's strength over its surroundings': above 1 the room falls into the dark."""
    card_level: float
    """Linear display value of the white card."""


MOODS = (
    Mood(frozenset(("night", "dark", "moody", "dramatic", "evening", "midnight")), (0.94, 0.97, 1.0), 3.0, 0.62),
    Mood(
        frozenset(("sunset", "sunrise", "golden", "warm", "candlelight", "dusk", "dawn")), (1.0, 0.83, 0.64), 1.25, 0.72
    ),
    Mood(frozenset(("bright", "airy", "sunny", "daylight", "noon")), (1.0, 1.0, 1.0), 0.85, 0.82),
)
"""The first that has a word of the prompt wins."""

PAPERS = {
    "pink": (1.0, 0.74, 0.71),
    "peach": (1.0, 0.76, 0.60),
    "orange": (1.0, 0.66, 0.42),
    "yellow": (1.0, 0.86, 0.52),
    "mint": (0.70, 0.95, 0.80),
    "green": (0.66, 0.90, 0.66),
    "teal": (0.50, 0.85, 0.84),
    "blue": (0.62, 0.80, 1.0),
    "lavender": (0.82, 0.74, 1.0),
    "purple": (0.76, 0.62, 0.95),
    "beige": (0.98, 0.88, 0.74),
    "cream": (1.0, 0.94, 0.82),
}
"""Reflectance of coloured paper over that of white paper, linear Rec.709."""


def adjusted(spec: SceneSpec, prompt: str) -> SceneSpec:
    """The scene as the prompt's single words want it; most prompts leave it as it is."""
    words = re.findall("[a-z]+", prompt.lower())
    papers = [PAPERS[word] for word in words if word in PAPERS]
    if papers and spec.coloured_paper:
        colour = rgb(*papers[0])
        sweep = partial(backdrops.sweep, colour=colour)
        spec = replace(spec, stage=replace(spec.stage, tint=colour, backdrop=sweep))
    mood = next((mood for mood in MOODS if mood.words.intersection(words)), None)
    if mood is None or spec.own_light:
        return spec
    red, green, blue = (a * b for a, b in zip(spec.key.colour, mood.colour, strict=True))
    key = replace(spec.key, colour=(red, green, blue), to_fill=spec.key.to_fill * mood.to_fill)
    return replace(spec, key=key, card_level=mood.card_level)
