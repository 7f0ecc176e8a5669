"""Settings that every service has; each service's ``settings.py`` adds its own and sets the prefix."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt
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


class TritonSettings(ServiceSettings):
    """Settings of the services that have an engine named ``triton``."""

    triton_address: str = "127.0.0.1:8001"
    """``host:port`` of Triton's gRPC."""

    triton_versions: dict[str, str | dict[str, PositiveInt]] = {}
    """JSON: which version of which model. ``{"saliency_u2netp": "1"}`` pins one; ``{"saliency_u2netp": {"1": 90,
    "2": 10}}`` gives each its share of the requests, the same request always to the same; a model that is not named
    is left to its ``version_policy``."""

    triton_fallback: bool = False
    """Whether the embedded engine may do what Triton cannot do just now; the result then names its maker."""

    triton_seconds: float = Field(default=30.0, gt=0)
    """How long one inference may take, retries included."""

    triton_retry_seconds: float = Field(default=10.0, ge=0)
    """For how long what is down is asked again; a crashed model is back within a few seconds."""
