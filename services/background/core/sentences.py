"""Sentence embeddings without a deep-learning framework: all-MiniLM-L6-v2's forward pass in numpy.

Wang et al., "MiniLM", NeurIPS 2020; Reimers & Gurevych, "Sentence-BERT", EMNLP 2019. A BERT encoder of 6 layers, mean
pooling over the tokens, and unit length; inference for one short sentence takes tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.background.core.noise import FloatArray

_LAYERS, _HEADS, _EPSILON, _MAX_TOKENS = 6, 12, 1e-12, 128


class Encoder(Protocol):
    """Anything that gives sentences of like meaning vectors of like direction."""

    def encode(self, text: str) -> FloatArray:
        """(d,) unit vector."""


class MiniLm:
    """The encoder, with its weights in memory (91 MB)."""

    def __init__(self, weights: Path, tokenizer: Path) -> None:
        """Load ``model.safetensors`` and ``tokenizer.json``."""
        # heavy imports: only the process that runs the engine pays
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        self._weights: Mapping[str, NDArray[np.float32]] = load_file(weights)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MAX_TOKENS)

    def encode(self, text: str) -> FloatArray:
        """(384,) float32 unit vector of one sentence; words past the 128th token are not read."""
        tokens = np.array(self._tokenizer.encode(text).ids)
        table = "embeddings.{}_embeddings.weight".format
        words, places = self._weights[table("word")], self._weights[table("position")]
        states = words[tokens] + places[: len(tokens)] + self._weights[table("token_type")][0]
        states = self._norm(states, "embeddings.LayerNorm")
        for layer in range(_LAYERS):
            states = self._layer(states, f"encoder.layer.{layer}.")
        pooled = states.mean(axis=0)
        return np.asarray(pooled / np.linalg.norm(pooled), np.float32)

    def _layer(self, states: FloatArray, name: str) -> FloatArray:
        """One transformer block (Vaswani et al. 2017), normalised after each half as BERT does."""
        attended = self._attend(states, name + "attention.self.")
        states = self._norm(
            states + self._linear(attended, name + "attention.output.dense"), name + "attention.output.LayerNorm"
        )
        hidden = gelu(self._linear(states, name + "intermediate.dense"))
        return self._norm(states + self._linear(hidden, name + "output.dense"), name + "output.LayerNorm")

    def _attend(self, states: FloatArray, name: str) -> FloatArray:
        """(tokens, 384) multi-head scaled dot-product attention of a sentence to itself."""
        parts = (self._linear(states, name + part) for part in ("query", "key", "value"))
        query, key, value = (part.reshape(len(states), _HEADS, -1).transpose(1, 0, 2) for part in parts)
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(query.shape[2]))
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        return np.asarray((weights @ value).transpose(1, 0, 2).reshape(len(states), -1), np.float32)

    def _linear(self, states: FloatArray, name: str) -> FloatArray:
        return np.asarray(states @ self._weights[name + ".weight"].T + self._weights[name + ".bias"], np.float32)

    def _norm(self, states: FloatArray, name: str) -> FloatArray:
        centred = states - states.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + _EPSILON)
        return np.asarray(scaled * self._weights[name + ".weight"] + self._weights[name + ".bias"], np.float32)


def gelu(x: FloatArray) -> FloatArray:
    """x·Φ(x) with erf to 1.5e-7 (Abramowitz & Stegun 7.1.26), as numpy has none."""
    magnitude = np.abs(x) * np.float32(1 / np.sqrt(2))
    t = 1.0 / (1.0 + 0.3275911 * magnitude)
    series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    erf = 1.0 - series * np.exp(-np.square(magnitude))
    return np.asarray(0.5 * x * (1.0 + np.sign(x) * erf), np.float32)
