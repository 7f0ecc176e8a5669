"""Real services in the mesh, over TLS, stages judged against themselves: nothing may be found."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from lensora.core.blobs import file_url
from lensora.runtime.channels import open_channel, wait_serving
from tests.mesh.test_canary import lensora
from tests.mesh.world import Instance, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHOTO = Path(__file__).parents[2] / ".cache/photos/coffee.png"


async def start(world: World, service: str) -> Instance:
    """A process of a service, as an operator starts it; ready by its port for probes."""
    address, probes = world.free_address(), world.free_address()
    prefix = service.upper()
    settings = {
        f"{prefix}_LISTEN": address,
        f"{prefix}_HEALTH_LISTEN": probes,
        f"{prefix}_CERTIFICATES": str(world.certificates(service)),
        f"{prefix}_BLOB_PREFIX": file_url(world.folder / "home/blobs") + "/",
        f"{prefix}_DIE_WITH_PARENT": "true",
        "OPENBLAS_NUM_THREADS": "1",
    }
    with (world.folder / f"{service}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"services.{service}", env={**os.environ, **settings}, stdout=log, stderr=log
        )

    async def end() -> None:
        process.terminate()
        assert await process.wait() == 0

    world.stack.push_async_callback(end)
    async with open_channel(probes) as channel:
        await wait_serving(channel, 120)
    return Instance("real", listen=address)


async def test_a_stage_judged_against_itself_is_no_worse(mesh: World, tmp_path: Path) -> None:
    (mesh.folder / "home/blobs").mkdir(parents=True)
    shutil.copy(PHOTO, tmp_path)
    detect, *others = await asyncio.gather(*(start(mesh, name) for name in ("detect", *(2 * ("segment", "mesh3d")))))
    mesh.configure("detect", [detect])
    mesh.configure("segment", others[:1], others[2:3])
    mesh.configure("mesh3d", others[1:2], others[3:])
    for service in ("segment", "mesh3d"):
        status, said = await lensora(mesh, "canary", "judge", service, "--photos", str(tmp_path))
        assert status == 0 and "1.000" in said, said
    leftovers = [file for file in (mesh.folder / "home/blobs").rglob("*") if file.is_file()]
    assert not leftovers, "a judge leaves no bytes behind"
