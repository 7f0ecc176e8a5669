"""``StudioService``: the use cases over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

import grpc

from gateway.edge import protos
from gateway.edge.once import Once
from gateway.jobs import Studio
from gateway.ledger import INIT_PRICE
from gateway.model import ArtifactKind, Job, JobEvent
from gateway.options import JobOptions, SessionOptions, validated
from gateway.signing import Signer
from gateway.store import explained
from lensora.core.errors import InvalidArgument, LensoraError
from lensora.core.imaging import MAX_FILE_BYTES
from lensora.runtime.interceptors import Border
from lensora.runtime.server import Listener
from lensora.studio.v1 import studio_pb2, studio_pb2_grpc

_CHUNK_BYTES = 256 * 1024
_KEPT_EVENTS = 4096
_UPLOAD_CHUNK_BYTES = 1024 * 1024
_DRAIN_BYTES, _DRAIN_SECONDS = MAX_FILE_BYTES // 2, 2.0

Context = grpc.aio.ServicerContext[Any, Any]


def listener(listen: str, studio: Studio, signer: Signer, health_listen: str = "") -> Listener:
    """The server of this edge, not started yet.

    Raises:
        Unavailable: reason ``ADDRESS_IN_USE``.
    """
    border = Border(public=True, explained=explained)
    made = Listener(listen, ["lensora.studio.v1.StudioService"], border, health_listen=health_listen)
    studio_pb2_grpc.add_StudioServiceServicer_to_server(StudioServicer(studio, signer), made.server)
    return made


class StudioServicer(studio_pb2_grpc.StudioServiceServicer):
    """See the proto for the contract."""

    def __init__(self, studio: Studio, signer: Signer) -> None:
        self._studio, self._signer = studio, signer
        self._endings: Once[studio_pb2.Job] = Once()

    async def _account(self, context: Context) -> str:
        """Who calls."""
        return await self._studio.authenticate(_bearer(context))

    def _job(self, value: Job) -> studio_pb2.Job:
        """The job, with signed addresses where the HTTP edge serves them."""
        message = protos.job(value)
        if self._signer.base:
            message.events_url = self._signer.events_url(value)
            urls = self._signer.artifact_urls(value)
            for artifact, kind in zip(message.artifacts, value.artifacts, strict=True):
                artifact.url = urls[kind]
        return message

    async def CreateSession(
        self, request_iterator: AsyncIterator[studio_pb2.CreateSessionRequest], context: Context
    ) -> studio_pb2.CreateSessionResponse:
        """See the proto."""
        messages = aiter(request_iterator)
        try:
            return await self._create_session(await self._account(context), messages)
        except LensoraError:
            await _drain(messages)
            raise

    async def _create_session(
        self, account: str, messages: AsyncIterator[studio_pb2.CreateSessionRequest]
    ) -> studio_pb2.CreateSessionResponse:
        first = await anext(messages, None)
        if first is None or first.WhichOneof("part") != "options":
            raise InvalidArgument.of("options", "required as the first message")
        options = validated(SessionOptions, max_objects=first.options.max_objects or 6)
        async with self._studio.upload(account, first.options.idempotency_key) as upload:
            await upload.fill(_chunks(messages))
            session = await self._studio.create_session(upload, options)
        told = protos.session(session)
        if self._signer.base:
            told.source_url = self._signer.source_url(session)
        return studio_pb2.CreateSessionResponse(
            session=told,
            credits_used=INIT_PRICE,
            detect_elapsed_ms=session.detect_elapsed_ms,
        )

    async def DeleteSession(
        self, request: studio_pb2.DeleteSessionRequest, context: Context
    ) -> studio_pb2.DeleteSessionResponse:
        """See the proto."""
        await self._studio.delete_session(await self._account(context), request.session_id)
        return studio_pb2.DeleteSessionResponse()

    async def CreateJob(self, request: studio_pb2.CreateJobRequest, context: Context) -> studio_pb2.CreateJobResponse:
        """See the proto."""
        account = await self._account(context)
        values = await asyncio.to_thread(protos.job_options, request.spec)  # which reads through a picture of 20 MB
        options = validated(JobOptions, **values)
        picture = request.spec.background.picture
        job = await self._studio.create_job(account, options, picture, request.idempotency_key)
        return studio_pb2.CreateJobResponse(job=self._job(job))

    async def GetJob(self, request: studio_pb2.GetJobRequest, context: Context) -> studio_pb2.GetJobResponse:
        """See the proto."""
        job = await self._studio.job(await self._account(context), request.job_id)
        return studio_pb2.GetJobResponse(job=self._job(job))

    async def WatchJob(
        self, request: studio_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[studio_pb2.WatchJobResponse]:
        """See the proto."""
        account = await self._account(context)
        job_id = request.job_id

        async def ended() -> studio_pb2.Job:
            return self._job(await self._studio.job(account, job_id))

        async for event in self._studio.watch(account, job_id, request.after_seq):
            if event.status.terminal:
                job = await self._endings.get(f"{account} {job_id}", ended)
                yield studio_pb2.WatchJobResponse(event=protos.event(event), job=job)
            else:
                yield _told(event)

    async def CancelJob(self, request: studio_pb2.CancelJobRequest, context: Context) -> studio_pb2.CancelJobResponse:
        """See the proto."""
        job = await self._studio.cancel(await self._account(context), request.job_id)
        return studio_pb2.CancelJobResponse(job=self._job(job))

    async def ListJobs(self, request: studio_pb2.ListJobsRequest, context: Context) -> studio_pb2.ListJobsResponse:
        """See the proto."""
        if not 0 <= request.page_size <= 100:
            raise InvalidArgument.of("page_size", f"1 to 100, not {request.page_size}")
        if request.page_token and not (request.page_token.isascii() and request.page_token.isdigit()):
            raise InvalidArgument.of("page_token", "not one that ListJobs returned")
        before = int(request.page_token[:18]) if request.page_token else None
        jobs, after = await self._studio.list_jobs(await self._account(context), request.page_size or 20, before)
        token = "" if after is None else str(after)
        return studio_pb2.ListJobsResponse(jobs=[self._job(job) for job in jobs], next_page_token=token)

    async def DownloadArtifact(
        self, request: studio_pb2.DownloadArtifactRequest, context: Context
    ) -> AsyncIterator[studio_pb2.DownloadArtifactResponse]:
        """See the proto."""
        kind = protos.artifact_kind(request.kind)
        stored, file = await self._studio.artifact(await self._account(context), request.job_id, kind)
        with file:
            if not 0 <= request.offset <= stored.size:
                raise InvalidArgument.of("offset", f"0 to {stored.size}, not {request.offset}")
            await asyncio.to_thread(file.seek, request.offset)
            yield studio_pb2.DownloadArtifactResponse(artifact=protos.artifact(ArtifactKind(kind), stored))
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield studio_pb2.DownloadArtifactResponse(chunk=chunk)


@functools.lru_cache(maxsize=_KEPT_EVENTS)
def _told(event: JobEvent) -> studio_pb2.WatchJobResponse:
    """The event as a message, made once for all who watch; nobody may change it."""
    return studio_pb2.WatchJobResponse(event=protos.event(event))


def _bearer(context: Context) -> str:
    metadata = {str(name): value for name, value in context.invocation_metadata() or ()}
    scheme, _, key = str(metadata.get("authorization", "")).partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def _drain(messages: AsyncIterator[studio_pb2.CreateSessionRequest]) -> None:
    """Read on for a while, keeping nothing: a client that is cut off while it writes may never see why (grpc.aio)."""
    read = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for message in messages:
                read += len(message.chunk)
                if read > _DRAIN_BYTES:
                    return


async def _chunks(messages: AsyncIterator[studio_pb2.CreateSessionRequest]) -> AsyncIterator[bytes]:
    async for message in messages:
        if message.WhichOneof("part") != "chunk":
            raise InvalidArgument.of("options", "allowed in the first message only")
        if len(message.chunk) > _UPLOAD_CHUNK_BYTES:
            raise InvalidArgument.of("chunk", f"at most {_UPLOAD_CHUNK_BYTES} bytes a message")
        yield message.chunk
