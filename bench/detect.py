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

import numpy as np
from numpy.typing import NDArray

from bench import composites
from bench.machine import machine
from lensora.core import engines
from lensora.core.engines import NullContext
from lensora.core.geometry import Box
from services.detect.engine import DEFAULT_OBJECTS, DetectEngine, DetectRequest, DetectResult
from services.detect.settings import Settings

LARGE_RUNS = 10


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


def run(engine: DetectEngine, picture: NDArray[np.uint8], counts: Counts) -> DetectResult:
    """One upload as a JPEG."""
    data = composites.jpeg(picture)
    start = time.process_time()
    result = engine.run(DetectRequest(data), NullContext())
    counts.cpu.append(time.process_time() - start)
    counts.over_limit += max(0, len(result.proposals) - 1 - DEFAULT_OBJECTS)
    return result


def judge_alone(engine: DetectEngine, folder: Path, counts: Counts) -> None:
    """Every cut-out on a plain and on a cluttered background."""
    for composite in composites.alone(folder):
        (subject,) = composite.placed
        words = composites.SUBJECTS[subject.path]
        proposals = run(engine, composite.picture, counts).proposals[:-1]
        best = max(proposals, key=lambda proposal: proposal.box.iou(subject.box), default=None)
        hit = best is not None and best.box.iou(subject.box) >= 0.5
        said = best.label if best is not None and hit else "object"
        (counts.cluttered if composite.cluttered else counts.plain).append(hit)
        if words:
            counts.right.append(said in words.split("|"))
        counts.wrong.append(said != "object" and said not in words.split("|"))
        if not hit or counts.wrong[-1]:
            print(f"{subject.path} on {composite.background}: {said if hit else 'missed'}")


def judge_beside(engine: DetectEngine, folder: Path, counts: Counts) -> None:
    """Neighbours that almost touch; both are wanted."""
    for composite in composites.beside(folder):
        proposals = run(engine, composite.picture, counts).proposals[:-1]
        for subject in composite.placed:
            counts.beside.append(any(proposal.box.iou(subject.box) >= 0.5 for proposal in proposals))


def large_seconds(engine: DetectEngine, folder: Path) -> float:
    """95th percentile of the whole run for a 12-megapixel JPEG."""
    canvas = composites.background(folder, composites.CLUTTERED[0], composites.LARGE)
    for number, path in enumerate(list(composites.SUBJECTS)[::16]):
        left = 0.05 + 0.19 * number
        composites.place(canvas, folder, path, Box(left, 0.3, left + 0.15, 0.7))
    data = composites.jpeg(canvas)
    times = []
    for _ in range(LARGE_RUNS):
        start = time.perf_counter()
        engine.run(DetectRequest(data), NullContext())
        times.append(time.perf_counter() - start)
    return float(np.percentile(times, 95))


def measure(folder: Path) -> dict[str, float]:
    """All figures; prints what was missed or misnamed on the way."""
    engine = engines.load("services.detect.engines", "embedded", Settings())
    counts = Counts()
    judge_alone(engine, folder, counts)
    judge_beside(engine, folder, counts)
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
    parser.add_argument("--cutouts", type=Path, default=composites.CUTOUTS, help="folder with stamps/ and nature/")
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
