"""Settings of the mesh3d service, from ``MESH3D_*`` environment variables."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from lensora.runtime.settings import TritonSettings
from lensora.runtime.worker import WorkerSettings


class Settings(WorkerSettings, TritonSettings):
    """The common settings of services with a worker process; and a longer time for a mesh to be generated."""

    model_config = SettingsConfigDict(env_prefix="MESH3D_", frozen=True)

    triton_seconds: float = Field(default=300.0, gt=0)
