"""Signed addresses: who holds one may read one thing for a while, without a key.

An address carries what its signature covers: purpose, account, job or session, file and expiry (HMAC-SHA256).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

import structlog

from gateway.model import ArtifactKind, Job, Session
from gateway.settings import Settings
from lensora.core.errors import FailedPrecondition, NotFound

EVENTS = "events"
SOURCE = "source.png"
FILES = {
    ArtifactKind.VIDEO: "film.mp4",
    ArtifactKind.GLB: "mesh.glb",
    ArtifactKind.STILL: "still.png",
    ArtifactKind.CUTOUT: "cutout.png",
    ArtifactKind.ALPHA_VIDEO: "film.webm",
}
"""What each artifact is called in its address, and when it is saved."""

Purpose = Literal["artifacts", "events"]

_log = structlog.get_logger()

_EVENTS_SECONDS = 3600
_ROUND_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Grant:
    """What an address says that its holder may read, until when, and the proof."""

    purpose: Purpose
    account: str
    resource_id: str
    """A job, or a session for its photo."""
    file: str
    expires: int
    """Seconds since the epoch."""


class Signer:
    """Makes addresses, and checks them.

    Args:
        secret: bytes that nobody else knows; the same in all replicas.
        artifact_seconds: for how long an artifact's address works, at least.
        clock: seconds since the epoch.

    Attributes:
        base: ``https://host`` of those addresses whose reader is not asked for it; empty while nothing serves them.
    """

    def __init__(self, secret: bytes, artifact_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._secret, self._artifact_seconds, self._clock = secret, artifact_seconds, clock
        self.base = ""

    def source_url(self, session: Session, base: str = "") -> str:
        """Address of the session's normalised photo; it ends with the session."""
        expires = int(session.expires_at.timestamp())
        return self._file_url(Grant("artifacts", session.account_id, session.session_id, SOURCE, expires), base)

    def artifact_urls(self, job: Job, base: str = "") -> dict[ArtifactKind, str]:
        """Addresses of all that the job made; the same for some minutes, so that browsers can cache what they read."""
        expires = int((self._clock() + self._artifact_seconds) // _ROUND_SECONDS + 1) * _ROUND_SECONDS
        return {
            kind: self._file_url(Grant("artifacts", job.account_id, job.job_id, FILES[kind], expires), base)
            for kind in job.artifacts
        }

    def events_url(self, job: Job, base: str = "") -> str:
        """Address of the job's events, for an hour."""
        grant = Grant("events", job.account_id, job.job_id, EVENTS, int(self._clock()) + _EVENTS_SECONDS)
        query = {"account": grant.account, "expires": grant.expires, "signature": self._sign(grant)}
        return f"{base or self.base}/v1/studio/jobs/{job.job_id}/events?{urlencode(query)}"

    def check(self, grant: Grant, signature: str) -> None:
        """Raise unless the grant is one of ours, and still runs.

        Raises:
            NotFound: reason ``LINK_UNKNOWN``.
            FailedPrecondition: reason ``LINK_EXPIRED``.
        """
        if not hmac.compare_digest(self._sign(grant).encode(), signature.encode("utf-8", "replace")):
            raise NotFound("no such address; ask for a new one", reason="LINK_UNKNOWN")
        if grant.expires <= self._clock():
            raise FailedPrecondition("the address has expired; ask for a new one", reason="LINK_EXPIRED")

    def seconds_left(self, grant: Grant) -> int:
        """For how long the grant still runs."""
        return max(0, grant.expires - int(self._clock()))

    def _file_url(self, grant: Grant, base: str) -> str:
        query = urlencode({"expires": grant.expires, "signature": self._sign(grant)})
        path = f"/v1/studio/artifacts/{grant.account}/{grant.resource_id}/{grant.file}"
        return f"{base or self.base}{path}?{query}"

    def _sign(self, grant: Grant) -> str:
        # as JSON, so that no two grants read the same
        said = json.dumps([grant.purpose, grant.account, grant.resource_id, grant.file, grant.expires]).encode()
        return base64.urlsafe_b64encode(hmac.digest(self._secret, said, hashlib.sha256)).rstrip(b"=").decode()


def signer(settings: Settings) -> Signer:
    """With the secret of the settings, or with one that is made once and kept in ``home``, for its owner alone."""
    secret = settings.signing_secret.get_secret_value().encode() or _kept_secret(settings.home / "signing.key")
    if settings.database_url and not settings.signing_secret.get_secret_value():
        _log.warning("links work at this gateway alone: beside others, give all the same GATEWAY_SIGNING_SECRET")
    return Signer(secret, settings.artifact_url_hours * 3600)


def _kept_secret(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{secrets.token_hex(8)}.key")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_hex(32).encode())
    with contextlib.suppress(FileExistsError):  # whoever comes second takes the first one's
        os.link(fresh, path)
    fresh.unlink()
    return path.read_bytes()
