"""The OpenAPI document against the gateway: schemathesis sends what it allows and what it forbids."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway import accounts, ledger
from tests.contract.harness import running_gateway, running_services

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


async def test_the_gateway_does_what_its_document_says(tmp_path: Path) -> None:
    async with (
        running_services(tmp_path) as services,
        running_gateway(tmp_path, services, auth="keys", rate_per_second=0) as gateway,
    ):
        database = gateway.store.database
        key = accounts.create_key(database, "tester")
        with database.writing() as connection:
            ledger.grant(connection, "tester", "for the tester", 10**6)
        process = await asyncio.create_subprocess_exec(
            SCHEMATHESIS, "run", f"{gateway.http}/openapi.json", "--header", f"Authorization: Bearer {key}",
            "--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--generation-deterministic",
            "--no-color", "--workers", "1",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        told, _ = await process.communicate()
        assert process.returncode == 0, told.decode()
