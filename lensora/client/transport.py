"""What the client asks of a transport, and the little that all transports share."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Callable
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Protocol

from lensora.client.values import Artifact, ArtifactKind, JobEvent, Order, Result, SessionInfo, Source
from lensora.core.errors import FailedPrecondition, InvalidArgument, LensoraError, NotFound, Unavailable
from lensora.core.imaging import MAX_FILE_BYTES

CHUNK_BYTES = 256 * 1024


class Transport(Protocol):
    """One try at each call; every method raises ``LensoraError``, and ``Unavailable`` where the connection was lost."""

    async def init(self, photo: BinaryIO, max_objects: int | None, key: str) -> SessionInfo:
        """Upload what is left to read of the photo."""

    async def delete(self, session_id: str) -> None:
        """Forget a session."""

    async def transform(self, session_id: str, order: Order, key: str) -> str:
        """Start a job; returns its id."""

    async def job(self, job_id: str) -> Result:
        """The job as it is now."""

    async def cancel(self, job_id: str) -> Result:
        """Stop the job's work."""

    def events(self, job_id: str, after: int) -> AsyncGenerator[tuple[JobEvent, Result | None] | None, None]:
        """The events after number ``after``; the last of all comes with the job. Ends when there are no more.

        None is a sign of life: the studio is there, and nothing has happened.
        """

    async def artifact(self, job_id: str, kind: ArtifactKind) -> Artifact:
        """What is to be downloaded."""

    def read(self, job_id: str, artifact: Artifact, offset: int) -> AsyncGenerator[bytes, None]:
        """The artifact's bytes from ``offset`` on; ``offset`` is less than its size."""

    async def close(self) -> None:
        """Close the connections."""


def reopening(source: Source, field: str) -> Callable[[], BinaryIO]:
    """Opens the source at its beginning, once for each try; what is left of an open file is read now.

    Args:
        source: a picture.
        field: what it is for.

    Raises:
        InvalidArgument: reason ``IMAGE_TOO_LARGE``, as the studio would say after most of the upload.
        OSError: there is no such file.
    """
    if isinstance(source, str | PathLike):
        path = Path(source)
        _require_size(path.stat().st_size, field)
        return lambda: path.open("rb")
    data = source if isinstance(source, bytes) else source.read(MAX_FILE_BYTES + 1)
    _require_size(len(data), field)
    return lambda: io.BytesIO(data)


def _require_size(size: int, field: str) -> None:
    if size > MAX_FILE_BYTES:
        raise InvalidArgument.of(field, f"at most {MAX_FILE_BYTES:,} bytes", reason="IMAGE_TOO_LARGE")


def lost(why: object) -> Unavailable:
    """The connection was lost, or never made."""
    return Unavailable(f"the studio cannot be reached: {why}", reason="CONNECTION_LOST")


def no_artifact(result: Result, kind: ArtifactKind) -> LensoraError:
    """Why a job does not have an artifact, as the gateway tells it."""
    if result.status != "succeeded":
        return FailedPrecondition(f"the job is {result.status}; it has no artifacts", reason="JOB_NOT_SUCCEEDED")
    return NotFound(f"the job made no {kind}", reason="ARTIFACT_NOT_ASKED_FOR")
