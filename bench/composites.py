"""Known cut-outs on real backgrounds: photos whose boxes, alpha and true colours are known.

``scripts/cutouts.sh`` fetches both: the cut-outs of Debian's tuxpaint-stamps-default and the photographs of
mate-backgrounds. Every benchmark that asks for a truth takes the same composites, so that its figures fit the others'.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.geometry import Box

CUTOUTS = Path(__file__).parents[1] / ".cache/cutouts"
"""What ``scripts/cutouts.sh`` fetches: ``stamps`` (pictures with alpha) and ``nature`` (backgrounds)."""

SIZE = (960, 720)
LARGE = (4000, 3000)

PLAIN = ("Wood", "Storm", "Blinds")
CLUTTERED = ("Dune", "GreenMeadow", "LadyBird", "RainDrops")

SUBJECTS = {
    "animals/amphibians/frog": "frog|bullfrog|tree frog|tailed frog",
    "animals/birds/gander": "goose|bird",
    "animals/birds/lark": "bird",
    "animals/birds/magellanic_penguin": "king penguin|bird",
    "animals/birds/ostrich": "ostrich|bird",
    "animals/birds/pelican": "pelican|bird",
    "animals/birds/pink_flamingo": "flamingo|bird",
    "animals/birds/tucan": "toucan|bird",
    "animals/birds/turkey": "bird",
    "animals/fish/lobster": "spiny lobster|lobster",
    "animals/fish/seahorse": "",
    "animals/insects/Brown_slug": "slug",
    "animals/insects/Woodlouse": "woodlouse",
    "animals/insects/grasshopper": "grasshopper|cricket",
    "animals/insects/mantis": "mantis",
    "animals/mammals/apes/chimp": "chimpanzee",
    "animals/mammals/aquatic/dolphin": "",
    "animals/mammals/aquatic/otter": "otter",
    "animals/mammals/aquatic/sea_lion": "sea lion",
    "animals/mammals/bears/european-bear": "brown bear|bear",
    "animals/mammals/bovines/bull": "ox|cow",
    "animals/mammals/bovines/sheep": "sheep|ram",
    "animals/mammals/cats/lion-2": "lion",
    "animals/mammals/cats/tiger_sumatran": "tiger",
    "animals/mammals/dogs/dog": "husky|malamute dog|Norwegian elkhound|dog",
    "animals/mammals/dogs/fox": "red fox",
    "animals/mammals/equines/horse": "horse",
    "animals/mammals/equines/zebra": "zebra",
    "animals/mammals/ferret": "polecat|black-footed ferret",
    "animals/mammals/giraffe": "giraffe",
    "animals/mammals/pig_golden": "pig",
    "animals/mammals/rabbit_little": "rabbit|hare|Angora rabbit",
    "animals/mammals/rodents/squirrel": "fox squirrel",
    "animals/marsupials/koala": "koala",
    "animals/marsupials/wombat": "wombat",
    "food/fruit/Cherry_Stella": "",
    "food/fruit/Strawberry2": "strawberry",
    "food/fruit/orange_seville": "orange",
    "food/spices/ginger": "",
    "food/vegetables/corn": "maize|corn cob",
    "hobbies/music/brass/trumpet": "cornet",
    "hobbies/music/percussion/drum_tomtom_floor": "drum",
    "hobbies/music/string/cello": "cello|violin",
    "hobbies/music/string/guitar_classical": "acoustic guitar|guitar",
    "hobbies/music/string/guitar_electric": "electric guitar|guitar",
    "household/Lightbulb": "",
    "household/cylinder": "",
    "household/dishes/glass": "",
    "household/dishes/mug": "cup|coffee mug",
    "household/dishes/teapot": "teapot",
    "household/toilet": "toilet|toilet seat",
    "household/tools/cementmixer": "",
    "household/tools/hammer": "hammer",
    "household/tools/spade": "shovel",
    "medical/stethoscope": "stethoscope",
    "medical/syringe": "syringe",
    "military/vehicles/bradley": "tank",
    "people/fireman200b": "person",
    "plants/flowers/anemone_red": "",
    "plants/flowers/daffodil": "",
    "seasonal/candle": "candle",
    "seasonal/christmas/Mince_Pie": "",
    "space/planets/5_jupiter": "",
    "sports/basketball": "basketball|ball",
    "sports/soccer": "soccer ball|ball",
    "sports/tennis_ball": "tennis ball|ball",
    "vehicles/7spoke256": "car wheel",
    "vehicles/auto/sedan": "car|limousine|sports car|convertible|estate car",
    "vehicles/auto/truck": "pickup truck|truck",
    "vehicles/emergency/firetruck": "fire engine|truck",
    "vehicles/flight/balloon360": "hot-air balloon",
    "vehicles/flight/planes/747": "airliner|aeroplane",
    "vehicles/garbagetruck": "garbage truck|truck",
    "vehicles/masstransit/green_korean_bus": "minibus|bus|school bus|trolleybus",
    "vehicles/race/indycar": "racing car|car",
}
"""The cut-outs, and what may be said of each; nothing where the networks of detect do not know the thing."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A cut-out as it stands in a composite."""

    path: str
    """Its name in ``SUBJECTS``."""

    left: int
    top: int
    layer: NDArray[np.uint8]
    """(h, w, 4) BGR with straight alpha, at the composite's scale."""

    box: Box
    """Where it stands, normalised."""

    def alpha(self, window: tuple[int, int, int, int]) -> NDArray[np.float32]:
        """Its alpha in a window (left, top, right, bottom; pixels) of the composite; (h, w) in [0, 1]."""
        return np.asarray(self._within(window)[..., 3] / np.float32(255), dtype=np.float32)

    def colours(self, window: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Its own colours in a window of the composite; (h, w, 3) sRGB, in the order red, green, blue."""
        return np.ascontiguousarray(self._within(window)[..., 2::-1])

    def _within(self, window: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        left, top, right, bottom = window
        height, width = self.layer.shape[:2]
        whole = np.zeros((bottom - top, right - left, 4), np.uint8)
        x, y = self.left - left, self.top - top
        rows = slice(max(0, y), min(bottom - top, y + height))
        columns = slice(max(0, x), min(right - left, x + width))
        whole[rows, columns] = self.layer[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        return whole


@dataclass(frozen=True, slots=True)
class Composite:
    """A picture, and what stands in it."""

    background: str
    picture: NDArray[np.uint8]
    """(h, w, 3) BGR."""

    placed: tuple[Placed, ...]

    @property
    def cluttered(self) -> bool:
        """Whether the background is full of things."""
        return self.background in CLUTTERED


def cutout(path: Path) -> NDArray[np.uint8]:
    """(h, w, 4) uint8 BGR with straight alpha, cropped to what is mostly opaque."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None and picture.ndim == 3 and picture.shape[2] == 4, path  # noqa: S101
    left, top, width, height = cv2.boundingRect((picture[..., 3] > 127).astype(np.uint8))
    return np.asarray(picture[top : top + height, left : left + width], dtype=np.uint8)


def scaled(subject: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A cut-out at another size, through premultiplied colours: what is hidden under alpha 0 must not bleed in."""
    method = cv2.INTER_AREA if width < subject.shape[1] else cv2.INTER_CUBIC
    shares = subject[..., 3:] / np.float32(255)
    premultiplied = np.concatenate([subject[..., :3] * shares, shares * 255], axis=-1)
    resized = cv2.resize(premultiplied, (width, height), interpolation=method)
    alpha = np.round(np.clip(resized[..., 3:], 0, 255))
    colours = resized[..., :3] * 255 / np.maximum(resized[..., 3:], 1)
    return np.concatenate([np.clip(np.round(colours), 0, 255), alpha], axis=-1).astype(np.uint8)


def place(canvas: NDArray[np.uint8], folder: Path, path: str, slot: Box, anchor: float = 0.5) -> Placed:
    """Draw a cut-out as large as the slot allows, at ``anchor`` of its spare width."""
    subject = cutout(folder / "stamps" / f"{path}.png")
    height, width = canvas.shape[:2]
    left, top, right, bottom = slot.pixels(width, height)
    scale = min((bottom - top) / subject.shape[0], (right - left) / subject.shape[1])
    wide, tall = int(subject.shape[1] * scale), int(subject.shape[0] * scale)
    layer = scaled(subject, wide, tall)
    left += round((right - left - wide) * anchor)
    top += (bottom - top - tall) // 2
    alpha = layer[..., 3:] / np.float32(255)
    under = canvas[top : top + tall, left : left + wide]
    under[:] = np.round(under * (1 - alpha) + layer[..., :3] * alpha).astype(np.uint8)
    return Placed(path, left, top, layer, Box(left / width, top / height, (left + wide) / width, (top + tall) / height))


def background(folder: Path, name: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 BGR."""
    picture = cv2.imread(str(folder / "nature" / f"{name}.jpg"))
    assert picture is not None, name  # noqa: S101
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def alone(folder: Path) -> Iterator[Composite]:
    """Every cut-out by itself, on a plain and on a cluttered background; always the same ones."""
    random = np.random.default_rng(0)
    for number, path in enumerate(SUBJECTS):
        for names in (PLAIN, CLUTTERED):
            name = names[number % len(names)]
            canvas = background(folder, name, SIZE)
            room = random.uniform(0.4, 0.75)
            left, top = random.uniform(0.1, 0.9 - room, 2)
            slot = Box(left, top, left + room, top + room)
            yield Composite(name, canvas, (place(canvas, folder, path, slot),))


def beside(folder: Path) -> Iterator[Composite]:
    """Every second cut-out, almost touching the one after it, on plain backgrounds."""
    paths = list(SUBJECTS)
    slots = ((Box(0.05, 0.1, 0.495, 0.9), 1.0), (Box(0.505, 0.1, 0.95, 0.9), 0.0))
    for number, pair in enumerate(zip(paths[::2], paths[1::2], strict=False)):
        name = PLAIN[number % len(PLAIN)]
        canvas = background(folder, name, SIZE)
        both = zip(pair, slots, strict=True)
        yield Composite(name, canvas, tuple(place(canvas, folder, path, slot, anchor) for path, (slot, anchor) in both))


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """The picture as a camera would hand it over."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return bytes(data)
