"""Alpha at the photo's full size: BiRefNet.

Zheng et al., "Bilateral reference for high-resolution dichotomous image segmentation", CAAI AIR 2024. The repository of
its weights brings its own classes; they are run from the folder that was fetched, and from no other place.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lensora.serving.model import Report

if TYPE_CHECKING:
    import torch

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class BiRefNet:
    """The network; sees the photo as a square of ``side`` pixels, 1024 for the published weights."""

    def __init__(self, folder: Path, device: str, dtype: torch.dtype, side: int) -> None:
        from transformers import AutoModelForImageSegmentation

        network = AutoModelForImageSegmentation.from_pretrained(
            folder, trust_remote_code=True, local_files_only=True, dtype=dtype
        )
        self._network = network.to(device).eval()
        self._device, self._dtype, self._side = device, dtype, side

    def alpha(self, photo: NDArray[np.uint8], report: Report) -> NDArray[np.uint8]:
        """How much of each pixel is subject.

        Args:
            photo: (h, w, 3) uint8, 8-bit sRGB, any size.
            report: called before each part of the network.

        Returns:
            (h, w) uint8, 255 where all of it is.
        """
        import torch
        from torch.nn.functional import interpolate

        pixels = torch.from_numpy(np.array(photo)).to(self._device).permute(2, 0, 1)[None].float() / 255
        square = interpolate(pixels, (self._side, self._side), mode="bilinear", antialias=True, align_corners=False)
        mean, deviation = (torch.tensor(each, device=self._device).view(1, 3, 1, 1) for each in (_MEAN, _DEVIATION))
        parts = list(self._network.children())
        done = 0

        def step(*_: object) -> None:
            nonlocal done
            done += 1
            report(min(0.9, done / (len(parts) + 1)), "removing-bg")

        hooks = [part.register_forward_pre_hook(step) for part in parts]
        try:
            with torch.inference_mode():
                logits = self._network(((square - mean) / deviation).to(self._dtype))[-1]
                small = logits.float().sigmoid()
        finally:
            for hook in hooks:
                hook.remove()
        large = interpolate(small, photo.shape[:2], mode="bilinear", align_corners=False)
        return np.asarray((large[0, 0] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy())
