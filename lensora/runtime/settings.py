"""Settings that every service has; each service's ``settings.py`` adds its own and sets the prefix."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Common settings, read from ``<NAME>_*`` environment variables."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    listen: str = "127.0.0.1:0"
    """``host:port`` to serve gRPC on; port 0 takes a free one."""

    health_listen: str = ""
    """``host:port`` of health checks without TLS, for probes; empty means none beside ``listen``."""

    certificates: Path | None = None
    """Folder with ``tls.crt``, ``tls.key`` and ``ca.crt``, watched: then only who shows a certificate of this CA may
    call; empty means plaintext, for one machine."""

    engine: str = "embedded"
    """Name of the file in ``engines/`` to run."""

    blob_prefix: str = f"file://{tempfile.gettempdir()}/lensora/blobs/"
    """The only URLs that this service reads inputs from and writes results to begin with this."""

    max_concurrency: int = Field(default=2, ge=1, le=64)
    """Engine runs at the same time; more wait in line."""

    engine_threads: int = Field(default=2, ge=1, le=256)
    """Threads that one engine run may use inside native libraries."""

    check_seconds: float = Field(default=5.0, gt=0)
    """Between two looks at the blob folder and the model files."""

    die_with_parent: bool = False
    """Stop when the process that started this one ends, however it ends; for supervisors."""

    notice_seconds: float = Field(default=5.0, ge=0)
    """How long a stopping server that is not idle still takes calls, from those who have not heard yet."""

    drain_seconds: float = Field(default=20.0, ge=0)
    """How long a stopping server lets running calls finish, in all."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
