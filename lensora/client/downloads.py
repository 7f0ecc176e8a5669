"""A file from the studio to the disk: resumed where it broke off, checked, and there whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from pathlib import Path

from lensora.client.retry import Patience
from lensora.client.transport import CHUNK_BYTES, Transport
from lensora.client.values import Artifact, ArtifactKind
from lensora.core.errors import Internal, LensoraError, Unavailable


async def download(transport: Transport, job_id: str, kind: ArtifactKind, path: Path, patience: Patience) -> Artifact:
    """Write an artifact to ``path``.

    What came before a connection was lost is kept beside ``path`` under the artifact's digest, so that the next try,
    and be it another process's, goes on from there.

    Raises:
        LensoraError: what the studio said; ``Internal``, reason ``DOWNLOAD_DIGEST``: other bytes came than promised.
        OSError: the disk is full, or ``path`` cannot be written.
    """
    while True:
        try:
            artifact = await transport.artifact(job_id, kind)  # again at every try: its address may have expired
            part = path.with_name(f".{path.name}.{artifact.sha256[:16]}.part")
            await _fill(transport, job_id, artifact, part, patience)
            await asyncio.to_thread(part.replace, path)
            return artifact
        except LensoraError as error:
            await patience.after(error)


async def _fill(transport: Transport, job_id: str, artifact: Artifact, part: Path, patience: Patience) -> None:
    """Bring the part to its full size, and check it."""
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as file:
        if file.tell() < artifact.size:
            async with contextlib.aclosing(transport.read(job_id, artifact, file.tell())) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
                    patience.renew()
        size = file.tell()
    if size < artifact.size:
        raise Unavailable(f"the {artifact.kind} broke off after {size} of {artifact.size} bytes", reason="DOWNLOAD_CUT")
    if await asyncio.to_thread(_sha256, part) != artifact.sha256:
        await asyncio.to_thread(part.unlink)
        raise Internal(f"the {artifact.kind} came with other bytes than promised", reason="DOWNLOAD_DIGEST")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
