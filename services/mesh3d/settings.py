"""Settings of the mesh3d service, from ``MESH3D_*`` environment variables."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from lensora.runtime.worker import WorkerSettings


class Settings(WorkerSettings):
    """The common settings of services with a worker process; mesh3d has none of its own."""

    model_config = SettingsConfigDict(env_prefix="MESH3D_", frozen=True)
