"""Judging canaries and walking weights, with the command in a process of its own, as operators run it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from lensora.core.errors import Internal
from lensora.runtime import mesh as names
from tests.mesh import toys
from tests.mesh.test_mesh import track
from tests.mesh.world import PATIENCE, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAIN = "import sys; from cli.main import main; sys.argv[0] = 'lensora'; main()"


async def lensora(world: World, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command in the mesh as the operator; its exit status, and what it printed."""
    operator = world.certificates("operator")
    given = {
        "GRPC_XDS_BOOTSTRAP_CONFIG": names.bootstrap(f"dns:///{world.address}", "operator", str(operator)),
        "GATEWAY_HOME": str(world.folder / "home"),
        "GATEWAY_CERTIFICATES": str(operator),
        "LENSORA_CERTIFICATES": str(operator),
        "LENSORA_CONTROLPLANE": world.address,
        "COLUMNS": "250",
        **environment,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, *arguments, cwd=world.folder, env={**os.environ, **_importable(), **given},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 2 * PATIENCE)
    assert process.returncode is not None
    return process.returncode, output.decode()


def _importable() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def photos(tmp_path: Path) -> str:
    """A folder with two."""
    for name in ("first", "second"):
        (tmp_path / f"{name}.png").write_bytes(toys.photo())
    return str(tmp_path)


async def test_a_canary_that_makes_slabs_is_found_out(mesh: World, photos: str) -> None:
    await toys.before_mesh3d(mesh)
    stable, _ = await toys.mesh3d(mesh, "1", lambda: 0.8)
    canary, _ = await toys.mesh3d(mesh, "2", lambda: 0.1)
    mesh.configure("mesh3d", [stable], [canary])
    status, said = await lensora(mesh, "canary", "judge", "mesh3d", "--photos", photos, "--out", "slabs.html")
    assert status == 3 and "2 of 2 meshes are slabs" in said and "flatter" in said, said
    page = (mesh.folder / "slabs.html").read_text()
    assert "mesh3d/scripted@1" in page and "mesh3d/scripted@2" in page
    assert len(re.findall("<img", page)) == 8, "input, stable, canary and difference of each"
    status, said = await lensora(mesh, "canary", "run", "mesh3d", "--photos", photos, "--hold", "1")
    assert status == 3 and "back to 0 %" in said, said
    assert track(await mesh.until(bool), "mesh3d", "canary").weight == 0


async def test_a_canary_like_the_stable_gets_all_the_calls(mesh: World, photos: str) -> None:
    await toys.before_mesh3d(mesh)
    (stable, _), (canary, _) = [await toys.mesh3d(mesh, version, lambda: 0.8) for version in "12"]
    mesh.configure("mesh3d", [stable], [canary])
    status, said = await lensora(mesh, "canary", "judge", "mesh3d", "--photos", photos)
    assert status == 0 and "no worse" in said, said
    status, said = await lensora(
        mesh, "canary", "run", "mesh3d", "--photos", photos, "--hold", "1", "--steps", "50,100"
    )
    assert status == 0 and "100 %" in said, said
    assert track(await mesh.until(bool), "mesh3d", "canary").weight == 100


async def test_a_canary_that_turns_bad_on_the_way_loses_its_share(mesh: World, photos: str) -> None:
    await toys.before_mesh3d(mesh)
    asked = 0

    def depth() -> float:
        nonlocal asked
        asked += 1
        return 0.8 if asked <= 4 else 0.1  # the first look, and the first step's

    stable, _ = await toys.mesh3d(mesh, "1", lambda: 0.8)
    canary, servicer = await toys.mesh3d(mesh, "2", depth)
    mesh.configure("mesh3d", [stable], [canary])
    status, said = await lensora(mesh, "canary", "run", "mesh3d", "--photos", photos, "--hold", "1")
    assert status == 3 and "5 %" in said and "100 %" not in said and "are slabs" in said, said
    assert servicer.slabs == 1, "one is enough"
    assert track(await mesh.until(bool), "mesh3d", "canary").weight == 0


async def test_a_canary_whose_live_calls_fail_loses_its_share(mesh: World, photos: str) -> None:
    await toys.before_mesh3d(mesh)
    (stable, _), (canary, _) = [await toys.mesh3d(mesh, version, lambda: 0.8) for version in "12"]
    canary.fails = lambda number: Internal("scripted") if number % 10 == 0 else None
    mesh.configure("mesh3d", [stable], [canary], outliers=None)
    caller = await mesh.caller("mesh3d")
    await caller.calls(1, ready=True)
    caller.order("load", workers=2, pause=0.002)
    status, said = await lensora(
        mesh, "canary", "run", "mesh3d", "--photos", photos, "--hold", "20", "--steps", "50,100"
    )
    await caller.stop("load")
    assert status == 3 and "live calls fail" in said and "100 %" not in said, said
    assert track(await mesh.until(bool), "mesh3d", "canary").weight == 0


async def test_status_and_weight(mesh: World) -> None:
    mesh.configure("idle", [])
    status, said = await lensora(mesh, "mesh", "weight", "idle", "canary=30")
    assert (status, said) == (0, "idle: stable 70 %, canary 30 %\n")
    await mesh.until(lambda status: track(status, "idle", "canary").weight == 30)
    status, said = await lensora(mesh, "mesh", "status")
    assert status == 0 and re.search(r"idle +canary +30 %", said), said
    status, said = await lensora(
        mesh, "mesh", "weight", "idle", "canary=1", LENSORA_CERTIFICATES=str(mesh.certificates("gateway"))
    )
    assert status == 1 and "NOT_THE_OPERATOR" in said
