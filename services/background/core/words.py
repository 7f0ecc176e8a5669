"""From a stranger's words to a scene of the catalogue, in the light and colour that they ask for."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lensora.core.errors import InvalidArgument
from services.background.core.catalogue import SceneSpec
from services.background.core.moods import adjusted
from services.background.core.sentences import Encoder

MAX_PROMPT = 1000
"""Characters."""

FITS = 0.53
"""Cosine similarity from which a scene is said to fit the words.

Set on the 50 prompts of tests/unit/background/test_words.py. Of the 16 that no scene fits, the nearest comes to 0.50;
of the 34 that one fits, 32 find it and 31 lie above 0.53. So a fit is rarely claimed wrongly, and sometimes missed.
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """The scene for a prompt."""

    spec: SceneSpec
    similarity: float
    """Cosine between the prompt and the scene's nearest phrase, [-1, 1]."""

    @property
    def exact(self) -> bool:
        """Whether the scene fits the words, rather than only being the nearest."""
        return self.similarity >= FITS

    @property
    def note(self) -> str:
        """What was chosen, for people."""
        if self.exact:
            return f"The background is {self.spec.title}."
        return f"No scene here fits these words well; the nearest was taken: {self.spec.title}."


class Chooser:
    """Finds the scene whose example phrases mean most nearly the same as a prompt."""

    def __init__(self, encoder: Encoder, scenes: Sequence[SceneSpec]) -> None:
        self._encoder = encoder
        self._scenes = [spec for spec in scenes for _ in spec.phrases]
        self._phrases = np.stack([encoder.encode(phrase) for spec in scenes for phrase in spec.phrases])

    def choose(self, prompt: str) -> Choice:
        """The nearest scene.

        Raises:
            InvalidArgument: the prompt breaks ``checked_prompt``'s rules.
        """
        words = checked_prompt(prompt)
        similarities = self._phrases @ self._encoder.encode(words)
        best = int(np.argmax(similarities))
        return Choice(adjusted(self._scenes[best], words), float(similarities[best]))


def checked_prompt(prompt: str) -> str:
    """The prompt without surrounding white space.

    Raises:
        InvalidArgument: field ``background.prompt``: empty, over ``MAX_PROMPT`` characters, or with control
            characters or lone surrogates (Unicode categories Cc and Cs).
    """
    field = "background.prompt"
    if len(prompt) > MAX_PROMPT:
        raise InvalidArgument.of(field, f"1 to {MAX_PROMPT:,} characters, not {len(prompt):,}", reason="PROMPT_LENGTH")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in prompt):
        raise InvalidArgument.of(field, "must not contain control characters", reason="PROMPT_CHARACTERS")
    if not prompt.strip():
        raise InvalidArgument.of(
            field, f"1 to {MAX_PROMPT:,} characters that are not all blank", reason="PROMPT_LENGTH"
        )
    return prompt.strip()
