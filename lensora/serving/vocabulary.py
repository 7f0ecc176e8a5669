"""What is in a photo, in free words: Florence-2 through transformers.

Xiao et al., "Florence-2: Advancing a unified representation for a variety of vision tasks", CVPR 2024. Asked for dense
region captions, it writes ``words<loc><loc><loc><loc>...`` and needs no list of classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensora.serving.model import Report

if TYPE_CHECKING:
    import torch

TASK = "<DENSE_REGION_CAPTION>"
BINS = 1000
"""Location tokens ``<loc_0>`` to ``<loc_999>`` divide a side of the picture."""

MAX_TOKENS = 512
MAX_LABEL = 80
"""Characters."""


@dataclass(frozen=True, slots=True)
class Region:
    """One thing that the model describes."""

    label: str
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2, normalised, origin top left; x1 < x2 and y1 < y2."""

    score: float
    """Geometric mean of the probabilities of the words' and the box's tokens, in [0, 1]."""


class Florence:
    """The network and its processor."""

    def __init__(self, folder: Path, device: str, dtype: torch.dtype) -> None:
        from transformers import AutoProcessor, Florence2ForConditionalGeneration

        self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        network = Florence2ForConditionalGeneration.from_pretrained(folder, dtype=dtype, local_files_only=True)
        self._network = network.to(device).eval()
        self._device, self._dtype = device, dtype
        tokens = self._processor.tokenizer.convert_tokens_to_ids([f"<loc_{place}>" for place in range(BINS)])
        self._bins = {token: place for place, token in enumerate(tokens)}

    def find(self, photo: NDArray[np.uint8], limit: int, report: Report) -> list[Region]:
        """The ``limit`` surest regions.

        Args:
            photo: (h, w, 3) uint8, 8-bit sRGB.
            limit: the most regions wanted.
            report: called after every token.
        """
        import torch
        from PIL import Image

        def every_token(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
            report(0.1 + 0.85 * min(1.0, ids.shape[1] / MAX_TOKENS), "detecting")
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)  # no reason to stop

        inputs = self._processor(text=TASK, images=Image.fromarray(photo), return_tensors="pt")
        report(0.1, "detecting")
        with torch.inference_mode():
            made = self._network.generate(
                **inputs.to(self._device, self._dtype),
                max_new_tokens=MAX_TOKENS,
                num_beams=1,
                do_sample=False,
                stopping_criteria=[every_token],
                output_scores=True,
                return_dict_in_generate=True,
            )
            chances = self._network.compute_transition_scores(made.sequences, made.scores, normalize_logits=True)
        written = made.sequences[0, -chances.shape[1] :].tolist()
        decode = lambda tokens: str(self._processor.tokenizer.decode(tokens, skip_special_tokens=True))  # noqa: E731
        found = regions(written, chances[0].float().tolist(), self._bins, decode)
        return sorted(found, key=lambda region: -region.score)[:limit]


def regions(
    tokens: Sequence[int],
    log_probabilities: Sequence[float],
    bins: Mapping[int, int],
    decode: Callable[[list[int]], str],
) -> list[Region]:
    """Read what the model wrote: words, then four locations for each box they are about.

    Boxes without words, without extent or with a location too few are left out.

    Args:
        tokens: as written.
        log_probabilities: of each token.
        bins: the place in 0 to 999 that a location token stands for.
        decode: tokens to text, special tokens left out.
    """
    found: list[Region] = []
    words: list[int] = []
    places: list[int] = []
    spoken: list[float] = []
    located: list[float] = []
    for token, chance in zip(tokens, log_probabilities, strict=True):
        if token not in bins:
            if located:  # the words of the next thing begin
                words, spoken, places, located = [], [], [], []
            words.append(token)
            spoken.append(chance)
            continue
        places.append(bins[token])
        located.append(chance)
        if len(places) == 4:
            label = " ".join(decode(words).split())[:MAX_LABEL].strip()
            x1, y1, x2, y2 = ((place + 0.5) / BINS for place in places)
            if label and x1 < x2 and y1 < y2:
                found.append(Region(label, (x1, y1, x2, y2), math.exp(float(np.mean(spoken + located[-4:])))))
            places = []
    return found
