"""How films turn, and when they must not turn all the way."""

from __future__ import annotations

import numpy as np
import pytest

from services.render.core.arc import footprint_ratio, is_slab, turntable


def test_a_turntable_loops_at_constant_speed_from_the_front() -> None:
    arc = turntable(120, slab=False)
    assert (arc.degrees, arc.clamped, len(arc.yaws_degrees)) == (360.0, False, 120)
    assert arc.yaws_degrees[0] == 0.0
    np.testing.assert_allclose(np.diff(arc.yaws_degrees), 3.0)
    assert arc.yaws_degrees[-1] + 3.0 == pytest.approx(360.0), "the frame after the last is the first"


def test_a_slab_rocks_sixty_degrees_to_either_side() -> None:
    arc = turntable(120, slab=True)
    assert (arc.degrees, arc.clamped) == (120.0, True)
    assert arc.yaws_degrees[0] == 0.0
    assert arc.yaws_degrees.max() == pytest.approx(60.0, abs=0.1)
    assert arc.yaws_degrees.min() == pytest.approx(-60.0, abs=0.1)
    steps = np.diff(np.append(arc.yaws_degrees, arc.yaws_degrees[0]))
    assert np.abs(np.diff(steps)).max() < 0.2, "no jolt, not at the seam either"


@pytest.mark.parametrize(
    ("ratio", "footprint", "slab"),
    [(0.157, 0.16, True), (0.25, 1.0, False), (0.25, 0.49, True), (0.31, 0.1, False), (0.29, 0.5, False)],
)
def test_the_clamp_spares_bottles(ratio: float, footprint: float, *, slab: bool) -> None:
    assert is_slab(ratio, footprint) is slab


def test_the_footprint_is_measured_however_it_is_turned() -> None:
    corners = np.array([(x, y, z) for x in (-2, 2) for y in (0, 9) for z in (-0.5, 0.5)], float)
    for angle in (0.0, 0.4, 1.0):
        turned = corners.copy()
        turned[:, 0] = corners[:, 0] * np.cos(angle) + corners[:, 2] * np.sin(angle)
        turned[:, 2] = corners[:, 2] * np.cos(angle) - corners[:, 0] * np.sin(angle)
        assert footprint_ratio(turned) == pytest.approx(0.25, abs=1e-3)
