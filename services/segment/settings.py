"""Settings of the segment service, from ``SEGMENT_*`` environment variables."""

from __future__ import annotations

from typing import Literal

from pydantic_settings import SettingsConfigDict

from lensora.runtime.settings import TritonSettings


class Settings(TritonSettings):
    """The common settings; and which network finds the subject."""

    model_config = SettingsConfigDict(env_prefix="SEGMENT_", frozen=True)

    matte: Literal["u2netp", "isnet"] = "u2netp"
    """``isnet`` is finer, slower and optional: see ``docs/segment.md`` for its licence and how to fetch it."""
