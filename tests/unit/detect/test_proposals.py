"""Proposals from drawn saliency maps, where the truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.geometry import Box
from services.detect.core.proposals import salient

SIZE = 320


def discs(*centres: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """A map with soft discs: (x, y, radius) in shares of the picture, and the value inside."""
    fine = np.zeros((SIZE * 4, SIZE * 4), np.float32)
    for x, y, radius, value in centres:
        cv2.circle(fine, (round(x * SIZE * 4), round(y * SIZE * 4)), round(radius * SIZE * 4), value, -1)
    return np.asarray(cv2.resize(fine, (SIZE, SIZE), interpolation=cv2.INTER_AREA), dtype=np.float32)


def test_an_empty_map_has_no_object() -> None:
    assert salient(np.zeros((SIZE, SIZE), np.float32)) == ()


@pytest.mark.parametrize("radius", [0.05, 0.101, 0.3])
def test_boxes_are_tight_to_less_than_a_cell(radius: float) -> None:
    found = salient(discs((0.4, 0.6, radius, 1.0)))[0]
    truth = Box(0.4 - radius, 0.6 - radius, 0.4 + radius, 0.6 + radius)
    errors = [abs(getattr(found.box, side) - getattr(truth, side)) for side in ("x1", "y1", "x2", "y2")]
    assert max(errors) < 0.5 / SIZE


def test_objects_at_the_edge_reach_it() -> None:
    found = salient(discs((0.0, 1.0, 0.2, 1.0)))[0]
    assert found.box.x1 == 0.0 and found.box.y2 == 1.0


def test_sure_and_large_come_first() -> None:
    small, unsure, large = (0.2, 0.2, 0.04, 1.0), (0.8, 0.2, 0.12, 0.6), (0.5, 0.7, 0.12, 1.0)
    found = salient(discs(small, unsure, large))
    assert [round(proposal.box.x1 + proposal.box.x2, 1) for proposal in found] == [1.0, 1.6, 0.4]
    scores = [proposal.score for proposal in found]
    assert scores == sorted(scores, reverse=True) and min(scores) > 0 and max(scores) <= 1


def test_crumbs_are_no_objects() -> None:
    assert salient(discs((0.5, 0.5, 0.01, 1.0))) == ()


def test_what_lies_in_a_better_box_is_part_of_it() -> None:
    ring = discs((0.5, 0.5, 0.4, 1.0), (0.5, 0.5, 0.3, 0.0), (0.5, 0.5, 0.1, 1.0))
    assert len(salient(ring)) == 1
