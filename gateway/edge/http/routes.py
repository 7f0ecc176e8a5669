"""The routes of ``/v1`` and the two of health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from gateway.edge.http import schemas, views
from gateway.edge.http.bodies import PhotoForm, json_object
from gateway.edge.http.downloads import download
from gateway.edge.http.edge import Bearer, Caller, Edge, TheEdge
from gateway.edge.http.events import EventStream, frame, last_frame
from gateway.edge.http.openapi import FORM, JSON, problems_of
from gateway.model import JobEvent
from gateway.options import SessionOptions, validated
from gateway.signing import EVENTS, FILES, SOURCE, Grant
from lensora.core.errors import NotFound

Value = TypeVar("Value")

studio = APIRouter(prefix="/v1/studio", tags=["studio"])
billing = APIRouter(prefix="/v1", tags=["credits"])
operation = APIRouter(tags=["operation"])

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=255,
        pattern="^[ -~]*$",
        description="A repeat with the same key and body makes nothing new.",
    ),
]
_INT64 = 2**63 - 1


def _json(value: BaseModel, status: int = 200) -> Response:
    return Response(value.model_dump_json(), status, {"Cache-Control": "no-store"}, "application/json")


@studio.post(
    "/init",
    response_model=schemas.SessionCreated,
    openapi_extra=FORM,
    responses=problems_of(401, 402, 408, 409, 413, 415, 422, 429, 503),
)
async def init(request: Request, edge: TheEdge, caller: Caller, idempotency_key: IdempotencyKey = "") -> Response:
    """Upload a photo; the answer says what is in it. 5 credits, on success."""
    form = PhotoForm(request)
    async with edge.studio.upload(caller, idempotency_key) as upload:
        await upload.fill(form.image())
        wanted = {} if form.max_objects is None else {"max_objects": form.max_objects}
        making = edge.studio.create_session(upload, validated(SessionOptions, **wanted))
        session = await _while_there(request, making)
    return _json(views.session(edge, edge.base(request), session))


@studio.post(
    "/transform",
    status_code=202,
    response_model=schemas.JobAccepted,
    openapi_extra=JSON,
    responses=problems_of(401, 402, 404, 408, 409, 410, 413, 415, 422, 429, 503),
)
async def transform(request: Request, edge: TheEdge, caller: Caller, idempotency_key: IdempotencyKey = "") -> Response:
    """Start a job on one object of a session. 75 credits are held, and kept only if it succeeds."""
    options = validated(schemas.TransformRequest, **await json_object(request))
    job = await edge.studio.create_job(caller, options, key=idempotency_key)
    return _json(views.accepted(edge, edge.base(request), job), 202)


@studio.get("/result/{job_id}", response_model=schemas.Result, responses=problems_of(401, 404, 422, 429, 503))
async def result(request: Request, edge: TheEdge, caller: Caller, job_id: str) -> Response:
    """The job as it is now."""
    return _json(views.result(edge, edge.base(request), await edge.studio.job(caller, job_id)))


@studio.post("/jobs/{job_id}/cancel", response_model=schemas.Result, responses=problems_of(401, 404, 422, 429, 503))
async def cancel(request: Request, edge: TheEdge, caller: Caller, job_id: str) -> Response:
    """Stop the job's work and give its credits back; harmless on a job that has ended."""
    return _json(views.result(edge, edge.base(request), await edge.studio.cancel(caller, job_id)))


@studio.delete(
    "/sessions/{session_id}",
    status_code=204,
    response_class=Response,
    responses=problems_of(401, 404, 422, 429, 503),
)
async def delete_session(edge: TheEdge, caller: Caller, session_id: str) -> Response:
    """Forget a session, its jobs and all their files; open jobs are cancelled and refunded before."""
    await edge.studio.delete_session(caller, session_id)
    return Response(status_code=204)


@studio.get(
    "/jobs/{job_id}/events",
    response_class=Response,
    responses={
        200: {"description": "Each event's id is its number; the last one carries the job.",
              "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        204: {"description": "The job has ended and all its events were seen; browsers stop asking."},
        **problems_of(401, 404, 410, 422, 429, 503),
    },
)  # fmt: skip
async def events(
    request: Request,
    edge: TheEdge,
    bearer: Bearer,
    job_id: str,
    last_event_id: Annotated[
        int, Header(alias="Last-Event-ID", ge=0, le=_INT64, description="Go on after this event.")
    ] = 0,
    account: Annotated[str, Query(description="With `expires` and `signature`, in place of a key.")] = "",
    expires: Annotated[int, Query(ge=0, le=_INT64)] = 0,
    signature: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """The job's events as they come, resumable; with a key, or at the signed `events_url`."""
    if signature and bearer is None:
        edge.signer.check(Grant("events", account, job_id, EVENTS, expires), signature)
        caller = account
    else:
        caller = await edge.studio.authenticate(bearer.credentials if bearer else "")
    job = await edge.studio.job(caller, job_id)
    story = edge.studio.watch(caller, job_id, last_event_id)
    if job.status.terminal:
        first = await anext(story, None)
        if first is None:
            return Response(status_code=204)
        story = _chained(first, story)
    return EventStream(_frames(edge, caller, job_id, edge.base(request), story), edge.draining)


@studio.api_route(
    "/artifacts/{account}/{resource_id}/{file}",
    methods=["GET", "HEAD"],
    operation_id="artifact",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": {"application/octet-stream": {"schema": {"type": "string"}}}},
        206: {"description": "The range that was asked for."},
        304: {"description": "The caller has it: its ETag is its SHA-256."},
        **problems_of(404, 410, 416, 422, 503),
    },
)
async def artifact(
    request: Request,
    edge: TheEdge,
    account: str,
    resource_id: str,
    file: str,
    expires: Annotated[int, Query(ge=0, le=_INT64)] = 0,
    signature: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """A file at its signed address; no key is needed."""
    grant = Grant("artifacts", account, resource_id, file, expires)
    edge.signer.check(grant, signature)
    if file == SOURCE:
        stored, opened = await edge.studio.photo(account, resource_id)
    else:
        kind = next((kind for kind, name in FILES.items() if name == file), None)
        if kind is None:
            raise NotFound("no such file", reason="LINK_UNKNOWN")
        stored, opened = await edge.studio.artifact(account, resource_id, kind)
    return download(request, stored, opened, file, edge.signer.seconds_left(grant))


@billing.get("/credits", response_model=schemas.Credits, responses=problems_of(401, 422, 429, 503))
async def credits_(edge: TheEdge, caller: Caller) -> Response:
    """What the account has, and its latest ledger entries."""
    return _json(views.credits_of(*await edge.studio.credits(caller)))


@operation.get("/healthz", response_model=schemas.Alive)
async def healthz() -> Response:
    """Whether the process lives."""
    return _json(schemas.Alive())


@operation.get(
    "/readyz",
    response_model=schemas.Readiness,
    responses={503: {"model": schemas.Readiness, "description": "Not ready."}},
)
async def readyz(edge: TheEdge) -> Response:
    """Whether new work can be done here now."""
    checks = await edge.health.check()
    well = all(checks.values())
    return _json(schemas.Readiness(status="ready" if well else "not ready", checks=checks), 200 if well else 503)


async def _frames(
    edge: Edge, caller: str, job_id: str, base: str, story: AsyncIterator[JobEvent]
) -> AsyncIterator[bytes]:
    async def whole() -> str:
        return views.result(edge, base, await edge.studio.job(caller, job_id)).model_dump_json()

    async for event in story:
        if event.status.terminal:
            yield last_frame(event, await edge.endings.get(f"{caller} {job_id} {base}", whole))
        else:
            yield frame(event)


async def _chained(first: JobEvent, rest: AsyncIterator[JobEvent]) -> AsyncIterator[JobEvent]:
    yield first
    async for event in rest:
        yield event


async def _while_there(request: Request, work: Coroutine[Any, Any, Value]) -> Value:
    """Do the work, unless the caller goes away before it is done."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left())
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)
    if task.cancelled():
        raise ClientDisconnect
    return task.result()
