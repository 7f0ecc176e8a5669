"""Settings of the background service, from ``BACKGROUND_*`` environment variables."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from lensora.runtime.settings import TritonSettings


class Settings(TritonSettings):
    """The common settings; background has none of its own but a longer time for a picture to be painted."""

    model_config = SettingsConfigDict(env_prefix="BACKGROUND_", frozen=True)

    triton_seconds: float = Field(default=120.0, gt=0)
