"""Which object of a drawn map is the chosen one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lensora.core.geometry import FULL_FRAME, Box
from services.segment.core.subject import bounding_box, inside, isolate, within

SIZE = 320
LEFT = Box(0.1, 0.3, 0.4, 0.7)


def discs(*centres: tuple[int, int, int], value: float = 1.0) -> NDArray[np.float32]:
    """A map with discs: (x, y, radius) in cells."""
    drawn = np.zeros((SIZE, SIZE), np.float32)
    for x, y, radius in centres:
        cv2.circle(drawn, (x, y), radius, value, -1)
    return drawn


def kept(saliency: NDArray[np.float32], chosen: Box, *, keep_all_parts: bool = False) -> NDArray[np.bool_]:
    found = isolate(saliency, chosen, keep_all_parts=keep_all_parts)
    assert found is not None
    assert np.isin(found.saliency, [0, *np.unique(saliency)]).all()
    return found.saliency > 0


def test_the_neighbour_is_left_out() -> None:
    own, neighbour = discs((80, 160, 48)), discs((240, 160, 60))
    assert np.array_equal(kept(np.maximum(own, neighbour), LEFT), own > 0)


def test_full_frame_keeps_all_parts() -> None:
    both = discs((80, 160, 48), (240, 160, 60))
    assert np.array_equal(kept(both, FULL_FRAME, keep_all_parts=True), both > 0)


def test_pieces_inside_the_box_belong_but_not_crumbs_or_what_pokes_in() -> None:
    own, piece, intruder = discs((80, 140, 30)), discs((80, 200, 8)), discs((140, 215, 24))
    crumb = discs((40, 110, 3))
    everything = np.max([own, piece, intruder, crumb], axis=0)
    assert np.array_equal(kept(everything, LEFT), (own > 0) | (piece > 0))


def test_faint_edges_go_to_the_nearer_object() -> None:
    solid = discs((80, 160, 40), (200, 160, 40))
    veil = np.zeros_like(solid)
    veil[150:170, 60:220] = 0.3  # fur that joins the two
    found = kept(np.maximum(solid, veil), LEFT)
    assert found[160, 130] and not found[160, 150] and not found[160, 200]


def test_faint_patches_without_an_object_are_dropped() -> None:
    found = kept(np.maximum(discs((80, 160, 48)), discs((80, 20, 10), value=0.4)), LEFT)
    assert not found[20, 80]


@pytest.mark.parametrize(
    "saliency", [discs(), discs((80, 160, 48), value=0.4), discs((80, 160, 1)), discs((280, 40, 9))]
)
def test_nothing_in_the_box_is_none(saliency: NDArray[np.float32]) -> None:
    assert isolate(saliency, LEFT, keep_all_parts=False) is None


def test_agreement_is_the_overlap_of_the_boxes() -> None:
    drawn = np.zeros((SIZE, SIZE), np.float32)
    drawn[96:224, 32:80] = 1
    found = isolate(drawn, LEFT, keep_all_parts=False)
    assert found is not None and found.agreement == pytest.approx(0.5, abs=0.01)


def test_boxes_and_maps_change_windows_alike() -> None:
    window = Box(0.25, 0.5, 0.75, 1.0)
    moved = inside(Box(0.3, 0.6, 0.5, 0.7), window)
    assert (moved.x1, moved.y1, moved.x2, moved.y2) == pytest.approx((0.1, 0.2, 0.5, 0.4))
    whole = discs((160, 240, 40))
    part = within(whole, window)
    assert part.shape == whole.shape
    found = bounding_box(part > 0.5)
    truth = inside(bounding_box(whole > 0.5), window)
    assert found.iou(truth) > 0.98
