"""Alpha along the subject's edge: closed-form matting in a narrow band.

Levin, Lischinski, Weiss: "A closed-form solution to natural image matting", PAMI 30(2), 2008. Within a small window
colours of foreground and background each lie on a line, so alpha is a linear function of colour there; asking that
of all windows at once is a sparse quadratic. The network's map enters as a prior, strong where it is sure.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lensora.core.engines import Context

EPSILON = 1e-5
"""Regularises the colour covariance of a window, squared colour in [0, 1]; small keeps alpha crisp."""

PRIOR_WEIGHT = (0.002, 0.02)
"""Weight of the prior where the network is torn, and where it is sure; a window's own weight is about 1."""

SURE = 0.9
"""A place is surely the subject over this, surely not under one minus this, unless the edge is near."""

BAND_CELLS = 1.25
"""How far from the map's own edge the true edge may lie, in cells of the map."""

UNKNOWN = 128
"""What a trimap says where alpha is to be found."""

_TOLERANCE, _MAX_ITERATIONS, _CHECK_EVERY = 1e-3, 200, 20
_CHUNK = 20_000  # windows at a time: about 80 MB


def trimap(prior: NDArray[np.float32], cell: float) -> NDArray[np.uint8]:
    """Where the answer is known.

    Args:
        prior: (h, w) float32 in [0, 1], the isolated saliency at the picture's size.
        cell: pixels of the picture per cell of the saliency map.

    Returns:
        (h, w) uint8: 255 subject, 0 background, ``UNKNOWN`` in between.
    """
    radius = max(1, round(BAND_CELLS * cell))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # the border replicates, so that a subject cut by the picture's edge is sure there too
    subject = cv2.erode((prior > SURE).astype(np.uint8), disc)
    possible = cv2.dilate((prior > 1.0 - SURE).astype(np.uint8), disc)
    return np.where(subject > 0, 255, np.where(possible > 0, UNKNOWN, 0)).astype(np.uint8)


def closed_form(
    picture: NDArray[np.uint8], prior: NDArray[np.float32], known: NDArray[np.uint8], context: Context
) -> NDArray[np.float32]:
    """Alpha that follows the picture's own edges inside the unknown band.

    Args:
        picture: (h, w, 3) uint8, 8-bit sRGB, at least 3 pixels each way.
        prior: (h, w) float32 in [0, 1].
        known: (h, w) uint8 as ``trimap`` returns it.
        context: asked while solving.

    Returns:
        (h, w) float32 in [0, 1]; exactly 1 and 0 where known.
    """
    alpha = (known == 255).astype(np.float64)
    unknown = np.flatnonzero(known == UNKNOWN)
    if len(unknown) == 0:
        return np.asarray(alpha, dtype=np.float32)
    laplacian = _laplacian(picture, known == UNKNOWN, context)[unknown]
    expected = np.clip((prior.ravel()[unknown].astype(np.float64) - 0.5) / 0.6 + 0.5, 0.0, 1.0)
    torn, sure = PRIOR_WEIGHT
    weight = torn + (sure - torn) * np.abs(2.0 * expected - 1.0) ** 4
    system = laplacian[:, unknown] + sparse.diags(weight)
    target = weight * expected - laplacian @ alpha.ravel()
    solved = _conjugate_gradients(sparse.csr_array(system), target, expected, context)
    alpha.ravel()[unknown] = np.clip(solved, 0.0, 1.0)
    return np.asarray(alpha, dtype=np.float32)


def _conjugate_gradients(
    system: sparse.csr_array, target: NDArray[np.float64], start: NDArray[np.float64], context: Context
) -> NDArray[np.float64]:
    """Solve ``system @ x = target``, positive definite, by conjugate gradients with a Jacobi preconditioner.

    SciPy's own goes through threaded BLAS, which for vectors this short costs more than the work, and cannot be
    called off.
    """
    scale = 1.0 / system.diagonal()
    solution, residual = start.copy(), target - system @ start
    preconditioned = scale * residual
    direction, power = preconditioned, np.sum(residual * preconditioned)
    enough = _TOLERANCE**2 * np.sum(target * target)
    for step in range(_MAX_ITERATIONS):
        if np.sum(residual * residual) <= enough:
            break
        if step % _CHECK_EVERY == 0:
            context.check()
        moved = system @ direction
        length = power / np.sum(direction * moved)
        solution += length * direction
        residual -= length * moved
        preconditioned = scale * residual
        former, power = power, np.sum(residual * preconditioned)
        direction = preconditioned + (power / former) * direction
    return solution


def _laplacian(picture: NDArray[np.uint8], unknown: NDArray[np.bool_], context: Context) -> sparse.csr_array:
    """The matting Laplacian of all 3 × 3 windows that touch an unknown pixel; (n, n) for n pixels (equation 12)."""
    height, width = unknown.shape
    touching = cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3), np.uint8))
    touching[[0, -1]] = 0
    touching[:, [0, -1]] = 0
    offsets = (np.arange(-1, 2)[:, None] * width + np.arange(-1, 2)).ravel()
    windows = (np.flatnonzero(touching)[:, None] + offsets).astype(np.int32)
    pixels = picture.reshape(-1, 3)
    total = sparse.csr_array((height * width, height * width))
    for first in range(0, len(windows), _CHUNK):
        total = total + _window_sum(pixels, windows[first : first + _CHUNK])
        context.check()
    return total


def _window_sum(pixels: NDArray[np.uint8], windows: NDArray[np.int32]) -> sparse.csr_array:
    """The Laplacian of some windows: ``pixels`` (n, 3), ``windows`` (m, 9) indices into them; gives (n, n)."""
    colours = pixels[windows].astype(np.float64) / 255.0
    colours -= colours.mean(axis=1, keepdims=True)
    across = colours.transpose(0, 2, 1)
    covariance = across @ colours / 9.0 + np.eye(3) * (EPSILON / 9.0)
    affinity = (1.0 + colours @ np.linalg.inv(covariance) @ across) / 9.0
    values = (np.eye(9) - affinity).ravel()
    rows, columns = np.repeat(windows, 9, axis=1).ravel(), np.tile(windows, (1, 9)).ravel()
    return sparse.coo_array((values, (rows, columns)), shape=(len(pixels), len(pixels))).tocsr()
