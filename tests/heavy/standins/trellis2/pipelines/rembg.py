"""The background remover that must never be made."""

from __future__ import annotations


class BiRefNet:
    """RMBG-2.0 there."""

    def __init__(self, model_name: str) -> None:
        raise AssertionError(f"{model_name} is for non-commercial use")
