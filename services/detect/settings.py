"""Settings of the detect service, from ``DETECT_*`` environment variables."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from lensora.runtime.settings import TritonSettings


class Settings(TritonSettings):
    """The common settings; detect has none of its own."""

    model_config = SettingsConfigDict(env_prefix="DETECT_", frozen=True)
