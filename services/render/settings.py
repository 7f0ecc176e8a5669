"""Settings of the render service, from ``RENDER_*`` environment variables."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from lensora.runtime.worker import WorkerSettings


class Settings(WorkerSettings):
    """The common settings of services with a worker process; render has none of its own."""

    model_config = SettingsConfigDict(env_prefix="RENDER_", frozen=True)
