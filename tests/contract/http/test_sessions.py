"""Deletion on request."""

from __future__ import annotations

from tests.contract.harness import Gateway
from tests.contract.http.caller import Caller, refused
from tests.contract.scripted import Services


async def test_a_deleted_session_takes_its_jobs_and_files_along(
    gateway: Gateway, caller: Caller, services: Services
) -> None:
    result = await caller.make()
    services["Render"].held()
    running = await caller.start(seed=5)
    await services["Render"].begun(2)
    before = (await caller.client.get("/v1/credits")).json()["balance"]
    for session_id in (result["session_id"], (await gateway.studio.job("local", running["job_id"])).options.session_id):
        assert (await caller.client.delete(f"/v1/studio/sessions/{session_id}")).status_code == 204
        refused(await caller.client.delete(f"/v1/studio/sessions/{session_id}"), 404, "SESSION_NOT_FOUND")
    for job_id in (result["job_id"], running["job_id"]):
        refused(await caller.client.get(f"/v1/studio/result/{job_id}"), 404, "JOB_NOT_FOUND")
    for url in result["outputs"].values():
        refused(await caller.client.get(url), 404)
    assert (await services["Render"].calls[1].gone()).cancelled, "work on it was stopped"
    assert (await caller.client.get("/v1/credits")).json()["balance"] == before + 75, "and refunded"
