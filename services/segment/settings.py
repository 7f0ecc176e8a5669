"""Settings of the segment service, from ``SEGMENT_*`` environment variables."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from lensora.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The common settings; segment has none of its own."""

    model_config = SettingsConfigDict(env_prefix="SEGMENT_", frozen=True)
