"""Settings of the control plane, from ``CONTROLPLANE_*`` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One replica; all of them read the same source, and none keeps anything."""

    model_config = SettingsConfigDict(env_prefix="CONTROLPLANE_", frozen=True)

    listen: str = "127.0.0.1:50060"
    """``host:port`` of discovery, load reports and administration."""

    health_listen: str = ""
    """``host:port`` of health checks without TLS, for probes; empty means none beside ``listen``."""

    certificates: Path | None = None
    """Folder with ``tls.crt``, ``tls.key`` and ``ca.crt``: then only who shows a certificate of this CA may connect."""

    source: Literal["file", "kubernetes"] = "file"
    """Where the mesh is configured."""

    mesh: Path = Path("mesh.yaml")
    """The file; its folder must be writable if weights shall be changed by command."""

    poll_seconds: float = Field(default=0.25, gt=0)
    """How often to look whether the file has changed."""

    resolve_seconds: float = Field(default=2.0, gt=0)
    """How often to look up names of instances."""

    config_map: str = "lensora-mesh"
    """Kubernetes: the ConfigMap with the mesh under the key ``mesh.yaml``."""

    api_url: str = "https://kubernetes.default.svc"
    """Kubernetes: the API server."""

    service_account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """Kubernetes: folder with ``token``, ``ca.crt`` and ``namespace``."""

    report_seconds: float = Field(default=1.0, ge=0.1)
    """How often clients report their calls."""

    die_with_parent: bool = False
    """Stop when the process that started this one ends, however it ends; for supervisors."""

    drain_seconds: float = Field(default=0.0, ge=0)
    """Clients lose nothing when their stream breaks, so there is nothing to wait for."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
