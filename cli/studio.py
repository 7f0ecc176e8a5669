"""The calls that the command line makes to a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from lensora.core.errors import InvalidArgument
from lensora.runtime.channels import open_channel
from lensora.runtime.errors import from_rpc
from lensora.studio.v1 import studio_pb2, studio_pb2_grpc

FILES = {
    studio_pb2.ARTIFACT_KIND_VIDEO: "film.mp4",
    studio_pb2.ARTIFACT_KIND_GLB: "mesh.glb",
    studio_pb2.ARTIFACT_KIND_STILL: "still.png",
    studio_pb2.ARTIFACT_KIND_CUTOUT: "cutout.png",
    studio_pb2.ARTIFACT_KIND_ALPHA_VIDEO: "film.webm",
}
"""What an artifact is called on disk."""

_CHUNK_BYTES = 1024 * 1024
_SECONDS = 60.0


class Studio:
    """One gateway. Every method raises the ``LensoraError`` that the gateway raised.

    Args:
        address: ``host:port``.
        key: API key, where the gateway asks for one.
    """

    def __init__(self, address: str, key: str = "") -> None:
        if not (key.isascii() and key.isprintable()):
            raise InvalidArgument.of("key", "plain ASCII, as `lensora keys create` printed it")
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._channel = open_channel(address)
        self._stub: Any = studio_pb2_grpc.StudioServiceStub(self._channel)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def create_session(self, photo: bytes, max_objects: int = 0) -> studio_pb2.Session:
        """Upload a photo; waits for a gateway that is still starting."""

        async def messages() -> AsyncIterator[studio_pb2.CreateSessionRequest]:
            yield studio_pb2.CreateSessionRequest(options=studio_pb2.SessionOptions(max_objects=max_objects))
            for start in range(0, len(photo), _CHUNK_BYTES):
                yield studio_pb2.CreateSessionRequest(chunk=photo[start : start + _CHUNK_BYTES])

        call = self._stub.CreateSession(messages(), timeout=_SECONDS, wait_for_ready=True, metadata=self._metadata)
        response = await self._call(call)
        session: studio_pb2.Session = response.session
        return session

    async def create_job(self, spec: studio_pb2.JobSpec) -> studio_pb2.Job:
        """Start a job."""
        request = studio_pb2.CreateJobRequest(spec=spec)
        response = await self._call(self._stub.CreateJob(request, timeout=_SECONDS, metadata=self._metadata))
        job: studio_pb2.Job = response.job
        return job

    async def watch_job(self, job_id: str, after_seq: int = 0) -> AsyncIterator[studio_pb2.WatchJobResponse]:
        """The job's events, up to and with the last, which carries the job."""
        request = studio_pb2.WatchJobRequest(job_id=job_id, after_seq=after_seq)
        call = self._stub.WatchJob(request, metadata=self._metadata)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error

    async def cancel_job(self, job_id: str) -> studio_pb2.Job:
        """Stop a job."""
        request = studio_pb2.CancelJobRequest(job_id=job_id)
        response = await self._call(self._stub.CancelJob(request, timeout=_SECONDS, metadata=self._metadata))
        job: studio_pb2.Job = response.job
        return job

    async def download(self, job_id: str, kind: studio_pb2.ArtifactKind.ValueType, path: Path) -> None:
        """Write one artifact to ``path``, whole or not at all."""
        part = path.with_name(f".{path.name}.part")
        request = studio_pb2.DownloadArtifactRequest(job_id=job_id, kind=kind)
        call = self._stub.DownloadArtifact(request, timeout=_SECONDS, metadata=self._metadata)
        try:
            with part.open("wb") as file:
                async for response in call:
                    file.write(response.chunk)
            part.replace(path)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        finally:
            part.unlink(missing_ok=True)

    async def _call(self, call: Any) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
