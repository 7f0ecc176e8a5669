"""The layout as a depth map."""

from __future__ import annotations

import numpy as np
import pytest

from services.background.core.guidance import inverse_depth
from services.background.core.surround import picture_framing


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280)])
def test_ground_is_where_the_camera_sees_it(size: tuple[int, int]) -> None:
    width, height = size
    camera = picture_framing(width / height).camera
    shades = inverse_depth(camera, width, height)
    assert shades.shape == (height, width) and shades.dtype == np.uint8
    assert (shades == shades[:, :1]).all()
    horizon = round(0.42 * height)
    assert not shades[: horizon - 2].any()
    assert shades[-1, 0] == 255
    assert (np.diff(shades[horizon:, 0].astype(int)) >= 0).all()
    # the inverse of the depth: at the foot of the subject and at a place behind it
    here, behind = (
        camera.project(np.array([point]), width, height)[0, 1] for point in ((0.0, 0.0, 0.0), (0.0, 0.0, -0.3))
    )
    depths = [-(camera.view_matrix() @ (*point, 1.0))[2] for point in ((0.0, 0.0, 0.0), (0.0, 0.0, -0.3))]
    ratio = shades[int(behind), 0] / shades[int(here), 0]
    assert ratio == pytest.approx(depths[0] / depths[1], abs=0.02)
