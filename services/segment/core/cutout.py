"""The whole cut: from a crop and its saliency to straight-alpha pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lensora.core.engines import Context
from lensora.core.errors import FailedPrecondition
from services.segment.core import foreground, matting, upsample

WORKING_SIDE = 1024
"""Pixels; alpha is solved at this size or less, and brought to full size along the photo's own edges."""

CLIP = 0.03
"""Alpha nearer than this to 0 or 1 is taken for 0 or 1: a veil that faint is noise."""

VEIL_CELLS = 1.5
"""Half the width, in cells of the saliency map, from which half-transparency is a veil and no edge."""

MAX_UNKNOWN = 100_000
"""The widest band, in pixels, that is solved; memory and time grow with it. Where the network is torn over large
areas the working size shrinks until the band fits."""

TILE = 48
"""Side, working pixels, of what is brought to full size at a time; most tiles have no edge in them and are cheap."""


def cut(crop: NDArray[np.uint8], saliency: NDArray[np.float32], context: Context) -> NDArray[np.uint8]:
    """Cut the subject out along its edge.

    Args:
        crop: (h, w, 3) uint8, 8-bit sRGB.
        saliency: (n, m) float32 in [0, 1], covering the crop, with nothing but the subject in it.
        context: told ``removing-bg``.

    Returns:
        (h, w, 4) uint8, 8-bit sRGB with straight alpha, as ``SegmentResult.cutout``.

    Raises:
        FailedPrecondition: reason ``NO_SUBJECT``; no solid part is left.
    """
    height, width = crop.shape[:2]
    work = _working(crop, saliency, -(-max(height, width) // WORKING_SIDE))
    while (unknown := np.count_nonzero(work.known == matting.UNKNOWN)) > MAX_UNKNOWN:
        work = _working(crop, saliency, math.ceil(work.factor * math.sqrt(unknown / MAX_UNKNOWN)))
        context.check()
    context.progress(0.5, "removing-bg")
    alpha = _firm(matting.closed_form(work.small, work.prior, work.known, context), work.cell)
    return _finish(work, _tidy(alpha, work.prior > 0.5), context, (height, width))


def cut_along(crop: NDArray[np.uint8], alpha: NDArray[np.float32], context: Context) -> NDArray[np.uint8]:
    """Cut the subject out by an alpha that is already fine: nothing is solved, only brought to full size.

    Args:
        crop: (h, w, 3) uint8, 8-bit sRGB.
        alpha: (n, m) float32 in [0, 1], covering the crop, with nothing but the subject in it.
        context: told ``removing-bg``.

    Returns:
        As ``cut``.

    Raises:
        FailedPrecondition: as ``cut`` does.
    """
    height, width = crop.shape[:2]
    work = _working(crop, alpha, -(-max(height, width) // WORKING_SIDE))
    context.progress(0.5, "removing-bg")
    return _finish(work, _tidy(work.prior.copy(), work.prior > 0.5), context, (height, width))


def _finish(work: _Working, alpha: NDArray[np.float32], context: Context, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Alpha and the subject's own colours, from working size to the crop's (height, width)."""
    context.progress(0.75, "removing-bg")
    layers = _layers(work.small, alpha)
    rows, columns = alpha.shape
    cutout = np.empty((*work.padded.shape[:2], 4), np.uint8)
    for top in range(0, rows, TILE):
        for left in range(0, columns, TILE):
            tile = _Tile(work.factor, (top, min(rows, top + TILE)), (left, min(columns, left + TILE)))
            _fill(work.padded[tile.large], layers, tile, cutout[tile.large])
        context.progress(0.75 + 0.25 * min(rows, top + TILE) / rows, "removing-bg")
    return np.ascontiguousarray(cutout[: size[0], : size[1]])


@dataclass(frozen=True, slots=True)
class _Working:
    """The crop at a size at which its edge can be solved."""

    factor: int
    """A working pixel is exactly ``factor`` × ``factor`` pixels."""

    padded: NDArray[np.uint8]
    """The crop, its last row and column repeated up to a multiple of ``factor``."""

    small: NDArray[np.uint8]
    """``padded`` at working size."""

    prior: NDArray[np.float32]
    """The saliency at working size."""

    cell: float
    """Working pixels per cell of the saliency map."""

    known: NDArray[np.uint8]
    """See ``matting.trimap``."""


def _working(crop: NDArray[np.uint8], saliency: NDArray[np.float32], factor: int) -> _Working:
    height, width = crop.shape[:2]
    padded = np.pad(crop, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge")
    size = (padded.shape[1] // factor, padded.shape[0] // factor)
    small = np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    prior = np.clip(cv2.resize(saliency, size, interpolation=cv2.INTER_CUBIC), 0.0, 1.0).astype(np.float32)
    cell = max(size[0] / saliency.shape[1], size[1] / saliency.shape[0])
    return _Working(factor, padded, small, prior, cell, matting.trimap(prior, cell))


@dataclass(frozen=True, slots=True)
class _Tile:
    """A tile of the working picture, and the same at full size."""

    factor: int
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def large(self) -> tuple[slice, slice]:
        (top, bottom), (left, right) = self.rows, self.columns
        return slice(top * self.factor, bottom * self.factor), slice(left * self.factor, right * self.factor)

    def of(self, layer: NDArray[np.float32]) -> NDArray[np.float32]:
        """The layer's tile at full size."""
        return upsample.enlarge(layer, self.factor, self.rows, self.columns)


@dataclass(frozen=True, slots=True)
class _Layers:
    """What is brought to full size; all at working size, (h, w[, n]) float32."""

    model: NDArray[np.float32]
    """Alpha as a linear function of colour: see ``upsample.coefficients``."""

    limits: NDArray[np.float32]
    """The lowest and the highest alpha that may come of it."""

    front: NDArray[np.float32]
    """The subject's colours, continued everywhere, [0, 255]."""

    back: NDArray[np.float32]
    """The background's colours, continued everywhere, [0, 255]."""


def _firm(alpha: NDArray[np.float32], cell: float) -> NDArray[np.float32]:
    """Decide the veils: half-transparent areas wider than any hair or blurred edge come from a torn network.

    Hairs and edges, being narrow, do not outlast a morphological opening and stay as they are.
    """
    radius = max(2, round(VEIL_CELLS * cell))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    between = ((alpha > CLIP) & (alpha < 1.0 - CLIP)).astype(np.uint8)
    veil = cv2.morphologyEx(between, cv2.MORPH_OPEN, disc).astype(np.float32)
    share = cv2.GaussianBlur(veil, (0, 0), radius / 2)
    decided = np.clip((alpha - 0.5) / 0.2 + 0.5, 0.0, 1.0)
    return np.asarray(alpha + share * (decided - alpha), dtype=np.float32)


def _tidy(alpha: NDArray[np.float32], subject: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Alpha without faint veils, crumbs and pinholes.

    A crumb is a piece that holds nothing of what the network takes for the ``subject``; a pinhole is a gap without a
    single clear pixel.
    """
    alpha = np.clip((alpha - CLIP) / (1.0 - 2.0 * CLIP), 0.0, 1.0)
    _, pieces = cv2.connectedComponents((alpha > 0).astype(np.uint8), connectivity=4)
    alpha[~np.isin(pieces, np.unique(pieces[subject & (alpha == 1)]))] = 0.0
    _, gaps = cv2.connectedComponents((alpha < 1).astype(np.uint8), connectivity=4)
    alpha[~np.isin(gaps, np.unique(gaps[alpha == 0])) & (gaps > 0)] = 1.0
    return alpha.astype(np.float32)


def _layers(small: NDArray[np.uint8], alpha: NDArray[np.float32]) -> _Layers:
    solid, clear = alpha == 1, alpha == 0
    if not solid.any():
        raise FailedPrecondition("the subject has no solid part; choose another box or photo", reason="NO_SUBJECT")
    # the outermost solid pixels often hold a trace of background: go by those behind them
    inner = cv2.erode(solid.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    front = foreground.extend(small, inner if inner.any() else solid)
    back = foreground.extend(small, clear) if clear.any() else small.astype(np.float32)
    return _Layers(upsample.coefficients(small, alpha), upsample.bounds(alpha), front, back)


def _fill(picture: NDArray[np.uint8], layers: _Layers, tile: _Tile, out: NDArray[np.uint8]) -> None:
    """Write one tile of the cut-out, at full size."""
    limits = tile.of(layers.limits)
    lowest, highest = limits[..., 0], limits[..., 1]
    if lowest.min() == 1:
        out[..., :3], out[..., 3] = picture, 255
        return
    front = tile.of(layers.front)
    if highest.max() == 0:
        out[..., :3], out[..., 3] = (front + 0.5).astype(np.uint8), 0
        return
    model = tile.of(layers.model)
    alpha = np.einsum("ijk,ijk->ij", picture.astype(np.float32) / 255.0, model[..., :3]) + model[..., 3]
    steps = (np.clip(alpha, lowest, highest) * 255.0 + 0.5).astype(np.uint8)
    shares = steps.astype(np.float32) / 255.0
    out[..., :3] = foreground.unmix(picture, shares, front, tile.of(layers.back))
    out[..., 3] = steps
