"""The subject's own colours where the old background shines through its edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def extend(picture: NDArray[np.uint8], solid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Colours of the solid pixels, continued smoothly over all others.

    Pull-push interpolation (Gortler et al.: "The lumigraph", SIGGRAPH 1996, section 3.4): averages of what is known
    are taken ever coarser, then fill what is unknown from coarse to fine.

    Args:
        picture: (h, w, 3) uint8, 8-bit sRGB.
        solid: (h, w) bool, where the colour is known; at least one pixel.

    Returns:
        (h, w, 3) float32 in [0, 255], equal to the picture where solid.
    """
    weight = solid.astype(np.float32)
    levels = [(picture.astype(np.float32) * weight[..., None], weight)]
    while max(levels[-1][1].shape) > 1:
        colour, weight = levels[-1]
        size = (max(1, weight.shape[1] // 2), max(1, weight.shape[0] // 2))
        smaller = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (colour, weight))
        levels.append((np.asarray(next(smaller), np.float32), np.asarray(next(smaller), np.float32)))
    colour, weight = levels.pop()
    filled = (colour.reshape(1, 1, 3) / max(float(weight.reshape(-1)[0]), 1e-12)).astype(np.float32)
    while levels:
        colour, weight = levels.pop()
        coarse = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        own = np.minimum(1.0, 4.0 * weight)[..., None]  # one solid pixel in four is enough to go by
        filled = own * colour / np.maximum(weight, 1e-12)[..., None] + (1.0 - own) * coarse
        filled = filled.astype(np.float32)
    return np.where(solid[..., None], picture.astype(np.float32), filled)


def unmix(
    picture: NDArray[np.uint8],
    alpha: NDArray[np.float32],
    foreground: NDArray[np.float32],
    background: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """The subject's colours: the picture's where alpha is 1, else freed of the background.

    From smooth guesses F and B of both layers, the final step of Germer et al.'s and Forte's foreground estimation
    ("Approximate fast foreground colour estimation", ICIP 2021): F + α (I − α F − (1 − α) B).

    Args:
        picture: (h, w, 3) uint8, 8-bit sRGB.
        alpha: (h, w) float32 in [0, 1].
        foreground: (h, w, 3) float32 in [0, 255], the guess F.
        background: (h, w, 3) float32 in [0, 255], the guess B.

    Returns:
        (h, w, 3) uint8, 8-bit sRGB; F where alpha is 0.
    """
    colours = picture.copy()
    mixed = alpha < 1.0
    share = alpha[mixed][:, None]
    front, back = foreground[mixed], background[mixed]
    estimate = front + share * (picture[mixed] - share * front - (1.0 - share) * back)
    colours[mixed] = np.clip(estimate + 0.5, 0.0, 255.0).astype(np.uint8)
    return colours
