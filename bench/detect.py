"""Detection on composites whose truth is known: known cut-outs on real backgrounds, plain and cluttered.

``python -m bench.detect --json [--cutouts FOLDER]``, after ``scripts/cutouts.sh``; the last line is one JSON object
``{"figures": {...}}``. Each cut-out stands once on a plain and once on a cluttered background, alone; and every
second one once more, almost touching the next. ``label_top1`` counts right words among the cut-outs whose thing the
networks know; ``label_wrong`` counts wrong words among all, where ``object`` is no wrong word.
The certainties that ``services.detect.core.naming`` asks for were chosen on these composites.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.machine import machine
from lensora.core import engines
from lensora.core.engines import NullContext
from lensora.core.geometry import Box
from services.detect.engine import DEFAULT_OBJECTS, DetectEngine, DetectRequest, DetectResult
from services.detect.settings import Settings

CUTOUTS = Path(__file__).parents[1] / ".cache/cutouts"
"""What ``scripts/cutouts.sh`` fetches: ``stamps`` (pictures with alpha) and ``nature`` (backgrounds)."""

SIZE = (960, 720)
LARGE = (4000, 3000)
LARGE_RUNS = 10

PLAIN = ("Wood", "Storm", "Blinds")
CLUTTERED = ("Dune", "GreenMeadow", "LadyBird", "RainDrops")

# what may be said of each; nothing where neither network knows the thing
WORDS = {
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


@dataclass
class Counts:
    """What came out so far."""

    plain: list[bool] = field(default_factory=list)
    cluttered: list[bool] = field(default_factory=list)
    beside: list[bool] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    wrong: list[bool] = field(default_factory=list)
    over_limit: int = 0
    cpu: list[float] = field(default_factory=list)


def cutout(path: Path) -> NDArray[np.uint8]:
    """(h, w, 4) uint8 BGR with straight alpha, cropped to what is mostly opaque."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None and picture.ndim == 3 and picture.shape[2] == 4, path  # noqa: S101
    left, top, width, height = cv2.boundingRect((picture[..., 3] > 127).astype(np.uint8))
    return np.asarray(picture[top : top + height, left : left + width], dtype=np.uint8)


def place(canvas: NDArray[np.uint8], subject: NDArray[np.uint8], slot: Box, anchor: float = 0.5) -> Box:
    """Draw the subject as large as the slot allows, at ``anchor`` of its spare width; returns the subject's box."""
    height, width = canvas.shape[:2]
    left, top, right, bottom = slot.pixels(width, height)
    scale = min((bottom - top) / subject.shape[0], (right - left) / subject.shape[1])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    wide, tall = int(subject.shape[1] * scale), int(subject.shape[0] * scale)
    scaled = cv2.resize(subject, (wide, tall), interpolation=method)
    left += round((right - left - wide) * anchor)
    top += (bottom - top - tall) // 2
    alpha = scaled[..., 3:] / np.float32(255)
    under = canvas[top : top + tall, left : left + wide]
    under[:] = np.round(under * (1 - alpha) + scaled[..., :3] * alpha).astype(np.uint8)
    return Box(left / width, top / height, (left + wide) / width, (top + tall) / height)


def background(folder: Path, name: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 BGR."""
    picture = cv2.imread(str(folder / "nature" / f"{name}.jpg"))
    assert picture is not None, name  # noqa: S101
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def run(engine: DetectEngine, picture: NDArray[np.uint8], counts: Counts) -> DetectResult:
    """One upload as a JPEG."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
    start = time.process_time()
    result = engine.run(DetectRequest(bytes(data)), NullContext())
    counts.cpu.append(time.process_time() - start)
    counts.over_limit += max(0, len(result.proposals) - 1 - DEFAULT_OBJECTS)
    return result


def alone(engine: DetectEngine, folder: Path, counts: Counts) -> None:
    """Every cut-out on a plain and on a cluttered background."""
    random = np.random.default_rng(0)
    for number, (path, words) in enumerate(WORDS.items()):
        subject = cutout(folder / "stamps" / f"{path}.png")
        for kind, names in ((counts.plain, PLAIN), (counts.cluttered, CLUTTERED)):
            canvas = background(folder, names[number % len(names)], SIZE)
            room = random.uniform(0.4, 0.75)
            left, top = random.uniform(0.1, 0.9 - room, 2)
            truth = place(canvas, subject, Box(left, top, left + room, top + room))
            proposals = run(engine, canvas, counts).proposals[:-1]
            best = max(proposals, key=lambda proposal: proposal.box.iou(truth), default=None)
            hit = best is not None and best.box.iou(truth) >= 0.5
            said = best.label if best is not None and hit else "object"
            kind.append(hit)
            if words:
                counts.right.append(said in words.split("|"))
            counts.wrong.append(said != "object" and said not in words.split("|"))
            if not hit or counts.wrong[-1]:
                print(f"{path} on {names[number % len(names)]}: {said if hit else 'missed'}")


def beside(engine: DetectEngine, folder: Path, counts: Counts) -> None:
    """Every second cut-out, almost touching the one after it, on plain backgrounds; both are wanted."""
    paths = list(WORDS)
    slots = ((Box(0.05, 0.1, 0.495, 0.9), 1.0), (Box(0.505, 0.1, 0.95, 0.9), 0.0))
    for number, pair in enumerate(zip(paths[::2], paths[1::2], strict=False)):
        canvas = background(folder, PLAIN[number % len(PLAIN)], SIZE)
        truths = [
            place(canvas, cutout(folder / "stamps" / f"{path}.png"), slot, anchor)
            for path, (slot, anchor) in zip(pair, slots, strict=True)
        ]
        proposals = run(engine, canvas, counts).proposals[:-1]
        counts.beside += [any(proposal.box.iou(truth) >= 0.5 for proposal in proposals) for truth in truths]


def large_seconds(engine: DetectEngine, folder: Path) -> float:
    """95th percentile of the whole run for a 12-megapixel JPEG."""
    canvas = background(folder, CLUTTERED[0], LARGE)
    for number, path in enumerate(list(WORDS)[::16]):
        left = 0.05 + 0.19 * number
        place(canvas, cutout(folder / "stamps" / f"{path}.png"), Box(left, 0.3, left + 0.15, 0.7))
    _, data = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, 92])
    times = []
    for _ in range(LARGE_RUNS):
        start = time.perf_counter()
        engine.run(DetectRequest(bytes(data)), NullContext())
        times.append(time.perf_counter() - start)
    return float(np.percentile(times, 95))


def measure(folder: Path) -> dict[str, float]:
    """All figures; prints what was missed or misnamed on the way."""
    engine = engines.load("services.detect.engines", "embedded", Settings())
    counts = Counts()
    alone(engine, folder, counts)
    beside(engine, folder, counts)
    return {
        "subject_recall_iou50": float(np.mean(counts.plain + counts.cluttered)),
        "recall_plain": float(np.mean(counts.plain)),
        "recall_cluttered": float(np.mean(counts.cluttered)),
        "recall_neighbours": float(np.mean(counts.beside)),
        "label_top1": float(np.mean(counts.right)),
        "label_wrong": float(np.mean(counts.wrong)),
        "proposals_over_limit": counts.over_limit,
        "cpu_ms": float(np.median(counts.cpu)) * 1000,
        "seconds_p95": large_seconds(engine, folder),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cutouts", type=Path, default=CUTOUTS, help="folder with stamps/ and nature/")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    print(f"machine: {machine()}")
    figures = {name: round(value, 3) for name, value in measure(arguments.cutouts).items()}
    for name, value in figures.items():
        print(f"{name:<22}{value:.3f}")
    if arguments.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
