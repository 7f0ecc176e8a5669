"""Cut-outs of composites whose alpha and colours are known.

``python -m bench.segment --json [--cutouts FOLDER] [--matte NAME] [--every N]``, after ``scripts/cutouts.sh``; the last
line is one JSON object ``{"figures": {...}}``. The composites are those of ``bench.detect``, as JPEGs. Each subject is
cut out by its true box, and the crop, which is the box grown as the product grows it, is compared with the truth.

Beside the engine run, on the same composites: ``unrefined``, the same engine's map of the chosen subject simply
enlarged, with the photo's own colours; and ``grabcut``, OpenCV's, from the same box. ``boundary_f`` allows
``mattes.BOUNDARY_TOLERANCE`` of the photo's diagonal (DAVIS; here 10 pixels), ``boundary_f_2px`` two pixels. ``*_p10``
is the value that nine in ten reach. ``seconds`` are a run's wall time, ``cpu_seconds`` its time on all cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench import composites, mattes
from bench.composites import Composite, Placed
from bench.machine import machine
from lensora.core.engines import NullContext
from lensora.core.errors import FailedPrecondition
from lensora.core.geometry import CROP_MARGIN, Box
from services.segment.engine import SegmentRequest
from services.segment.engines.embedded import Embedded, create
from services.segment.settings import Settings

LARGE_RUNS = 10
GRABCUT_ITERATIONS = 5

Method = Callable[[SegmentRequest], NDArray[np.uint8]]
"""Gives the crop's cut-out, (h, w, 4) sRGB with straight alpha."""

Scores = defaultdict[str, list[float]]


def window(request: SegmentRequest) -> tuple[int, int, int, int]:
    """The crop in pixels."""
    return request.box.grown(CROP_MARGIN).pixels(request.photo.shape[1], request.photo.shape[0])


def refined(engine: Embedded) -> Method:
    """The engine as it ships."""
    return lambda request: engine.run(request, NullContext()).cutout


def unrefined(engine: Embedded) -> Method:
    """The engine without its matting and its foreground colours."""

    def method(request: SegmentRequest) -> NDArray[np.uint8]:
        left, top, right, bottom = window(request)
        saliency = engine.find(request, NullContext()).saliency
        alpha = cv2.resize(saliency, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        return np.dstack([request.photo[top:bottom, left:right], np.round(alpha * 255).astype(np.uint8)])

    return method


def grabcut(request: SegmentRequest) -> NDArray[np.uint8]:
    """Rother, Kolmogorov, Blake: "GrabCut", SIGGRAPH 2004, from the box alone."""
    left, top, right, bottom = window(request)
    crop = request.photo[top:bottom, left:right]
    x1, y1, x2, y2 = request.box.pixels(request.photo.shape[1], request.photo.shape[0])
    mask = np.zeros(crop.shape[:2], np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    rectangle = (x1 - left, y1 - top, x2 - x1, y2 - y1)
    cv2.grabCut(crop, mask, rectangle, *models, GRABCUT_ITERATIONS, cv2.GC_INIT_WITH_RECT)
    return np.dstack([crop, np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255])


def photo_of(composite: Composite) -> NDArray[np.uint8]:
    """What the segment stage would see: the decoded JPEG, (h, w, 3) sRGB."""
    picture = cv2.imdecode(np.frombuffer(composites.jpeg(composite.picture), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None  # noqa: S101 - we encoded it ourselves
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def score(method: Method, photo: NDArray[np.uint8], subject: Placed, scores: Scores) -> None:
    """Run once and add to the scores; a subject that was not found counts as an empty cut-out."""
    request = SegmentRequest(photo, subject.box)
    crop = window(request)
    truth, true_colours = subject.alpha(crop), subject.colours(crop)
    start, cpu_start = time.perf_counter(), time.process_time()
    try:
        cutout = method(request)
    except FailedPrecondition:
        cutout = np.zeros((*truth.shape, 4), np.uint8)
    scores["seconds"].append(time.perf_counter() - start)
    scores["cpu_seconds"].append(time.process_time() - cpu_start)
    alpha = cutout[..., 3] / np.float32(255)
    tolerance = math.ceil(mattes.BOUNDARY_TOLERANCE * math.hypot(*photo.shape[:2]))
    scores["iou"].append(mattes.iou(alpha, truth))
    scores["boundary_f"].append(mattes.boundary_f(alpha, truth, tolerance))
    scores["boundary_f_2px"].append(mattes.boundary_f(alpha, truth, 2))
    scores["alpha_mae"].append(mattes.alpha_mae(alpha, truth))
    spill = mattes.colour_spill(cutout[..., :3], true_colours, truth)
    if spill is not None:
        scores["colour_spill"].append(spill)


def judge(pictures: Iterable[Composite], methods: dict[str, Method]) -> dict[str, Scores]:
    """All methods' scores of every subject of every picture; prints what the first method cuts out badly."""
    scores: dict[str, Scores] = {name: defaultdict(list) for name in methods}
    first = next(iter(methods))
    for composite in pictures:
        photo = photo_of(composite)
        for subject in composite.placed:
            for name, method in methods.items():
                score(method, photo, subject, scores[name])
            last = scores[first]["iou"][-1]
            if last < 0.85:
                print(f"{subject.path} on {composite.background}: iou {last:.2f}")
    return scores


def large_seconds(engine: Embedded, folder: Path) -> float:
    """95th percentile of the run for a subject that fills most of 12 megapixels."""
    canvas = composites.background(folder, composites.CLUTTERED[0], composites.LARGE)
    subject = composites.place(canvas, folder, "animals/mammals/ferret", Box(0.2, 0.05, 0.8, 0.95))
    photo = photo_of(Composite(composites.CLUTTERED[0], canvas, (subject,)))
    scores: Scores = defaultdict(list)
    for _ in range(LARGE_RUNS):
        score(refined(engine), photo, subject, scores)
    return float(np.percentile(scores["seconds"], 95))


def measure(folder: Path, settings: Settings, every: int) -> dict[str, float]:
    """All figures."""
    engine = create(settings)
    methods = {"": refined(engine), "unrefined_": unrefined(engine), "grabcut_": grabcut}
    # both of a pair, plain and cluttered, are of the same cut-out
    chosen = (one for number, one in enumerate(composites.alone(folder)) if number // 2 % every == 0)
    single = judge(chosen, methods)
    pairs = judge(itertools.islice(composites.beside(folder), 0, None, every), {"": refined(engine)})[""]
    own = single[""]
    figures = {
        f"{prefix}{name}": float(np.mean(single[prefix][name]))
        for name in ("iou", "boundary_f", "boundary_f_2px", "alpha_mae", "colour_spill", "cpu_seconds")
        for prefix in methods
    }
    return figures | {
        "iou_plain": float(np.mean(own["iou"][::2])),
        "iou_cluttered": float(np.mean(own["iou"][1::2])),
        "iou_p10": float(np.percentile(own["iou"], 10)),
        "iou_neighbours": float(np.mean(pairs["iou"])),
        "seconds_p95": float(np.percentile(own["seconds"], 95)),
        "seconds_p95_12mp": large_seconds(engine, folder),
        "cut_outs": len(own["iou"]),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cutouts", type=Path, default=composites.CUTOUTS, help="folder with stamps/ and nature/")
    parser.add_argument("--matte", choices=("u2netp", "isnet"), default="u2netp", help="the network; see docs")
    parser.add_argument("--every", type=int, default=1, help="take only each n-th cut-out, for a quick look")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    print(f"machine: {machine()}")
    measured = measure(arguments.cutouts, Settings(matte=arguments.matte), arguments.every)
    figures = {name: round(value, 4) for name, value in measured.items()}
    for name, value in figures.items():
        print(f"{name:<26}{value:.4f}")
    if arguments.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
