"""Settings of the gateway, from ``GATEWAY_*`` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One gateway process."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True)

    listen: str = "127.0.0.1:50050"
    """``host:port`` to serve gRPC on."""

    health_listen: str = ""
    """``host:port`` of gRPC health checks alone, for probes; empty means none beside ``listen``."""

    http_listen: str = ""
    """``host:port`` to serve HTTP on; empty means not to."""

    public_url: str = ""
    """``https://host`` that callers reach the HTTP edge by; empty means whatever name they called it by.
    Callers of gRPC get addresses with it, or with ``http_listen``."""

    cors_origins: str = ""
    """Origins whose web pages may call, separated by commas; ``*`` is any."""

    home: Path = Path.home() / ".local/share/lensora"
    """Folder of the database and the blobs, where these are not elsewhere."""

    database_url: str = ""
    """``postgresql://user:password@host/name``; empty means SQLite in ``home``."""

    blobs_url: str = Field(default="", pattern=r"^(s3://[^/?#@]+(/[^?#]*)?)?$")
    """``s3://bucket/prefix``, its endpoint, region and credentials from ``AWS_*``; empty means a folder in ``home``."""

    migrate: bool = True
    """Whether to bring an older database's tables up to date at the start; where not, see `lensora db`."""

    auth: Literal["off", "keys"] = "off"
    """``off``: every call is the account ``local``'s, which has credits without end. ``keys``: see `lensora keys`."""

    rate_per_second: float = Field(default=20.0, ge=0)
    """Calls a second that one account may make for ever, of each replica; 0, or ``auth`` off, is no limit."""

    rate_burst: int = Field(default=200, ge=1)
    """Calls that it may make at once after a rest."""

    signing_secret: SecretStr = SecretStr("")
    """Signs addresses of artifacts and events, the same in all replicas; empty: one is made, and kept in ``home``."""

    artifact_url_hours: float = Field(default=24.0, gt=0)
    """How long the address of an artifact works."""

    executor_id: str = "local"
    """Name of this replica, the same after every restart and its own among all: in a cluster the pod's name."""

    lease_seconds: float = Field(default=12.0, gt=0)
    """A replica that was silent for so long is gone, and others take its jobs."""

    sweep_seconds: float = Field(default=3.0, gt=0)
    """How often to look for jobs whose replica is gone."""

    dispatch_seconds: float = Field(default=0.1, gt=0)
    """How often to look for queued jobs."""

    max_runs: int = Field(default=5, ge=1)
    """A job that was lost so many times with its replica is given up."""

    poll_seconds: float = Field(default=0.1, gt=0)
    """How often to look for news of jobs that others run, while somebody watches them."""

    certificates: Path | None = None
    """Folder with ``tls.crt``, ``tls.key`` and ``ca.crt``: then the services are called over TLS, and shown these."""

    mesh_seconds: float = Field(default=2.0, gt=0)
    """With the mesh (``GRPC_XDS_BOOTSTRAP``): how long to wait for it at the start before a service is called at its
    target below instead."""

    detect_target: str = "127.0.0.1:50051"
    segment_target: str = "127.0.0.1:50052"
    background_target: str = "127.0.0.1:50053"
    mesh3d_target: str = "127.0.0.1:50054"
    render_target: str = "127.0.0.1:50055"

    connect_seconds: float = Field(default=30.0, gt=0)
    """How long to wait for a service that is not there, before a stage is given up."""

    url_seconds: float = Field(default=1800.0, gt=0)
    """How long a service can use a signed address of a blob: longer than any deadline below."""

    init_seconds: float = Field(default=20.0, gt=0)
    """Deadline of detection."""

    running_inits: int = Field(default=4, ge=1)
    """Photos that are held in memory and detected at the same time; more wait on disk."""

    upload_idle_seconds: float = Field(default=10.0, gt=0)
    """An upload of which nothing comes for so long is ended."""

    upload_seconds: float = Field(default=120.0, gt=0)
    """A whole upload that takes longer is ended."""

    stall_seconds: float = Field(default=30.0, gt=0)
    """A caller over HTTP that takes nothing of its answer for so long is dropped; it can resume."""

    stage_seconds: float = Field(default=300.0, gt=0)
    """Deadline of any one stage of a job."""

    job_seconds: float = Field(default=600.0, gt=0)
    """Deadline of a whole job, from running."""

    running_jobs: int = Field(default=2, ge=1)
    """Jobs at work at the same time in this process; more are queued."""

    running_jobs_per_account: int = Field(default=2, ge=1)
    """Jobs of one account at work at the same time, in all replicas; the others' turns come in between."""

    open_jobs: int = Field(default=1000, ge=1)
    """Jobs that may be queued or running in all; more are refused at once."""

    open_jobs_per_account: int = Field(default=100, ge=1)
    """The same for one account."""

    stage_attempts: int = Field(default=4, ge=1)
    """How often a stage is tried whose service is unavailable."""

    retry_seconds: float = Field(default=0.5, gt=0)
    """Pause before the second attempt; it doubles with each."""

    session_hours: float = Field(default=24.0, gt=0)
    """How long a session can be used, and its photo and the kept results of its stages are there."""

    artifact_days: float = Field(default=7.0, gt=0)
    """How long a job's artifacts are there, from its end."""

    record_days: float = Field(default=30.0, gt=0)
    """How long sessions and jobs can still be told apart from such as never were, after their bytes are gone."""

    cache_bytes: int = Field(default=20 * 10**9, ge=0)
    """Stage results that are kept for later, with their blobs; beyond that, those least recently used go."""

    retention_seconds: float = Field(default=300.0, gt=0)
    """How often to remove what has expired."""

    webhook_seconds: float = Field(default=20.0, gt=0)
    """How long the receiver of a webhook may take to answer."""

    webhook_pauses: tuple[float, ...] = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    """Seconds to wait after each attempt that failed; after so many and one, no more is tried."""

    webhook_poll_seconds: float = Field(default=1.0, gt=0)
    """How often to look for webhooks that are due."""

    die_with_parent: bool = False
    """Stop when the process that started this one ends, however it ends; for supervisors."""

    drain_seconds: float = Field(default=5.0, ge=0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    def way_to(self, service: str) -> tuple[str, Path | None, float]:
        """How ``open_service`` reaches it: target, certificates, seconds to wait for the mesh."""
        return getattr(self, f"{service}_target"), self.certificates, self.mesh_seconds
