"""Settings of the background service, from ``BACKGROUND_*`` environment variables."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from lensora.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The common settings; background has none of its own."""

    model_config = SettingsConfigDict(env_prefix="BACKGROUND_", frozen=True)
