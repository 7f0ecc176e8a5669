"""Health, the OpenAPI document and its page, request ids, CORS, and paths that are none."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import structlog
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError

from gateway.edge.http import border, schemas
from gateway.edge.http.server import _listening
from lensora.core.errors import Unavailable
from lensora.runtime.errors import from_rpc
from tests.contract.harness import Gateway, running_gateway, running_services
from tests.contract.http.caller import Caller, calling, good, refused
from tests.contract.scripted import PATIENCE

OPERATIONS = {
    ("delete", "/v1/studio/sessions/{session_id}"),
    ("post", "/v1/studio/init"),
    ("post", "/v1/studio/transform"),
    ("get", "/v1/studio/result/{job_id}"),
    ("post", "/v1/studio/jobs/{job_id}/cancel"),
    ("get", "/v1/studio/jobs/{job_id}/events"),
    ("get", "/v1/studio/artifacts/{account}/{resource_id}/{file}"),
    ("head", "/v1/studio/artifacts/{account}/{resource_id}/{file}"),
    ("get", "/v1/credits"),
    ("get", "/healthz"),
    ("get", "/readyz"),
}


async def test_a_gateway_whose_parts_are_well_is_ready(caller: Caller) -> None:
    assert good(await caller.client.get("/healthz"), 200) == {"status": "ok"}
    ready = good(await caller.client.get("/readyz"), 200)
    assert ready["status"] == "ready"
    assert ready["checks"] == dict.fromkeys(
        ("database", "blobs", "detect", "segment", "background", "mesh3d", "render"), True
    )


async def test_readiness_drops_with_a_service_and_comes_back(tmp_path: Path) -> None:
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services) as gateway,
        calling(gateway) as caller,
    ):

        async def answer() -> dict[str, Any]:
            gateway.health._checked_at = -1e9  # else it would keep the last answer for a second
            response = await caller.client.get("/readyz")
            value: dict[str, Any] = response.json()
            assert response.status_code == (200 if value["status"] == "ready" else 503)
            return value

        await services.mesh3d.stop()
        down = await answer()
        assert down["status"] == "not ready"
        assert [name for name, well in down["checks"].items() if not well] == ["mesh3d"]
        good(await caller.client.get("/healthz"), 200)
        await services.mesh3d.start()
        for _ in range(200):
            if (await answer())["status"] == "ready":
                break
        else:
            pytest.fail("it does not come back")


async def test_a_database_that_is_gone_is_told(
    gateway: Gateway, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> Any:
        raise OperationalError("SELECT 1", {}, OSError("the disk is gone"))

    job = await caller.make()
    monkeypatch.setattr(gateway.store.database, "reading", gone)
    gateway.health._checked_at = -1e9
    ready = await caller.client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["database"]) == (503, False)
    response = await caller.client.get(f"/v1/studio/result/{job['job_id']}")
    problem = refused(response, 503, "DATABASE_DOWN")
    assert response.headers["retry-after"] == "2"
    assert "SELECT" not in problem["detail"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.get(job["job_id"])
    error = from_rpc(caught.value)
    assert (error.reason, error.message) == ("DATABASE_DOWN", problem["detail"])
    gateway.health._checked_at = -1e9


async def test_a_defect_of_ours_says_nothing_of_itself(
    gateway: Gateway, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("a secret")

    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(border, "_log", log)
    monkeypatch.setattr(gateway.studio, "credits", broken)
    response = await caller.client.get("/v1/credits")
    refused(response, 500, "INTERNAL")
    assert "secret" not in response.text
    logged = [call.kwargs["exc_info"] for call in log.calls if call.method_name == "error"]
    assert [str(error) for error in logged] == ["a secret"], "but the log does"


async def test_the_document_shows_every_operation_with_an_example(caller: Caller) -> None:
    document = good(await caller.client.get("/openapi.json"), 200)
    assert document["openapi"].startswith("3.1")
    found = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert found == OPERATIONS
    known = document["components"]["schemas"]

    def example(content: dict[str, Any]) -> Any:
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        return content.get("example") or known.get(name, {}).get("examples")

    for method, path in sorted(found):
        operation = document["paths"][path][method]
        assert operation["description"], path
        for body in operation.get("requestBody", {}).get("content", {}).values():
            assert example(body), path
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                assert example(content) or kind in ("text/event-stream", "application/octet-stream"), (path, status)
    references = set(re.findall(r'"#/components/schemas/(\w+)"', (await caller.client.get("/openapi.json")).text))
    assert references <= set(known)


async def test_examples_are_true_to_their_schemas() -> None:
    models = [value for value in vars(schemas).values() if isinstance(value, type) and issubclass(value, BaseModel)]
    shown = 0
    for model in models:
        extra = model.model_config.get("json_schema_extra")
        examples: Any = extra.get("examples", ()) if isinstance(extra, dict) else ()
        for item in examples:
            shown += 1
            model(**item)
    assert shown >= 7


async def test_the_page_is_whole_without_anything_from_elsewhere(caller: Caller) -> None:
    response = await caller.client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    for method, path in OPERATIONS:
        assert f"<b>{method.upper()}</b><code>{path}</code>" in response.text
    assert not re.findall(r"<script|<link|<img|<iframe|src=|@import|url\(", response.text)


async def test_a_request_id_follows_the_call(caller: Caller) -> None:
    given = await caller.client.get("/healthz", headers={"X-Request-Id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    for bad in ("a b", "x" * 65, "é", ""):
        made = await caller.client.get("/healthz", headers={b"X-Request-Id": bad.encode("latin-1")})
        assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])
    refused(await caller.client.get("/nowhere"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/studio/result/", 404),
        ("GET", "/v1/studio/result/a/b", 404),
        ("GET", "/healthz/", 404),
        ("DELETE", "/v1/credits", 405),
        ("GET", "/v1/studio/init", 405),
        ("PUT", "/v1/studio/transform", 405),
        ("TRACE", "/v1/credits", 405),
    ],
)
async def test_a_path_that_is_none_is_a_problem_too(caller: Caller, method: str, path: str, status: int) -> None:
    response = await caller.client.request(method, path)
    refused(response, status)
    assert ("allow" in response.headers) == (status == 405)


async def test_addresses_follow_the_name_that_the_caller_used(caller: Caller) -> None:
    job = await caller.make()
    path = f"/v1/studio/result/{job['job_id']}"
    for host, base in (("studio.example:81", "http://studio.example:81"), ("e<v>il", caller.gateway.http)):
        result = good(await caller.client.get(path, headers={"Host": host}), 200)
        assert result["outputs"]["glb_url"].startswith(f"{base}/v1/studio/artifacts/")


async def test_settings_name_the_deployment_and_let_pages_in(tmp_path: Path) -> None:
    public: dict[str, Any] = {
        "public_url": "https://studio.example/",
        "cors_origins": "https://a.example, https://b.example",
    }
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, **public) as gateway,
        calling(gateway) as caller,
    ):
        answer = good(await caller.init(), 200)
        assert answer["source_url"].startswith("https://studio.example/v1/studio/artifacts/local/")
        assert (await gateway.upload()).source_url.startswith("https://studio.example/v1/")
        asks = {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}
        may = await caller.client.options(
            "/v1/studio/transform", headers=asks | {"Access-Control-Request-Headers": "authorization, idempotency-key"}
        )
        assert may.status_code == 200
        assert may.headers["access-control-allow-origin"] == "https://b.example"
        got = await caller.client.get("/nowhere", headers=asks)
        assert got.headers["access-control-allow-origin"] == "https://b.example"
        assert "X-RateLimit-Reset" in got.headers["access-control-expose-headers"]
        other = await caller.client.get("/healthz", headers={"Origin": "https://c.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_no_page_of_another_origin_may_call_by_default(caller: Caller) -> None:
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    for response in (
        await caller.client.options("/v1/studio/transform", headers=asks),
        await caller.client.get("/healthz", headers=asks),
    ):
        assert not [name for name in response.headers if name.startswith("access-control")]


async def test_a_taken_address_is_told(gateway: Gateway) -> None:
    with pytest.raises(Unavailable, match="is something else there"):
        _listening(gateway.http.removeprefix("http://"))


async def test_requests_in_flight_end_before_the_process_does(tmp_path: Path) -> None:
    async with running_services(tmp_path) as services, httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
        hold = services["DetectObjects"].held()
        async with running_gateway(tmp_path, services) as gateway:
            client.base_url = httpx.URL(gateway.http)
            uploading = asyncio.create_task(Caller(gateway, client).init(b"photo"))
            await services["DetectObjects"].begun()
            asyncio.get_running_loop().call_later(0.3, hold.set)
        assert good(await uploading, 200)["credits_used"] == 5
