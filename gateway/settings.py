"""Settings of the gateway, from ``GATEWAY_*`` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One gateway process."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True)

    listen: str = "127.0.0.1:50050"
    """``host:port`` to serve gRPC on."""

    home: Path = Path.home() / ".local/share/lensora"
    """Folder of the database and the blobs."""

    detect_target: str = "127.0.0.1:50051"
    segment_target: str = "127.0.0.1:50052"
    background_target: str = "127.0.0.1:50053"
    mesh3d_target: str = "127.0.0.1:50054"
    render_target: str = "127.0.0.1:50055"

    connect_seconds: float = Field(default=30.0, gt=0)
    """How long to wait for a service that is not there, before a stage is given up."""

    init_seconds: float = Field(default=20.0, gt=0)
    """Deadline of detection."""

    stage_seconds: float = Field(default=300.0, gt=0)
    """Deadline of any one stage of a job."""

    job_seconds: float = Field(default=600.0, gt=0)
    """Deadline of a whole job, from running."""

    running_jobs: int = Field(default=2, ge=1)
    """Jobs at work at the same time; more are queued."""

    session_hours: float = Field(default=24.0, gt=0)
    """How long a session can be used."""

    die_with_parent: bool = False
    """Stop when the process that started this one ends, however it ends; for supervisors."""

    drain_seconds: float = Field(default=5.0, ge=0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
