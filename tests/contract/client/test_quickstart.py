"""The README's example, as it stands, by a program of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.contract.harness import Gateway
from tests.contract.scripted import PATIENCE

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples/quickstart.py"


async def run(url: str, photo: Path, mesh: Path) -> tuple[int | None, str]:
    """Its exit status and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE), str(photo), str(mesh),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"LENSORA_URL": url, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    async with asyncio.timeout(3 * PATIENCE):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_from_a_photo_to_its_glb(gateway: Gateway, scheme: str, tmp_path: Path) -> None:
    photo, mesh = tmp_path / "photo.jpg", tmp_path / "mesh.glb"
    photo.write_bytes(gateway.photo)
    url = gateway.http if scheme == "http" else f"grpc://{gateway.address}"
    status, said = await run(url, photo, mesh)
    assert status == 0, said
    assert mesh.read_bytes().startswith(b"Reconstruct.mesh")
    assert said.startswith("in the photo: reflex camera, object, entire image (no crop)\n")
    assert said.endswith(f"100%\n{mesh}: {mesh.stat().st_size:,} bytes\n")


async def test_a_failure_is_told_in_a_sentence(gateway: Gateway, scheme: str, tmp_path: Path) -> None:
    from lensora.core.errors import FailedPrecondition

    gateway.services["Segment"].error = FailedPrecondition("there is nothing in the box", reason="NO_SUBJECT")
    (tmp_path / "photo.jpg").write_bytes(gateway.photo)
    url = gateway.http if scheme == "http" else f"grpc://{gateway.address}"
    status, said = await run(url, tmp_path / "photo.jpg", tmp_path / "mesh.glb")
    assert status == 1
    assert said.splitlines()[-1] == "removing-bg failed: there is nothing in the box (NO_SUBJECT)"
    assert not (tmp_path / "mesh.glb").exists()


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 50


def test_the_readme_shows_it_as_it_stands() -> None:
    assert f"```python\n{EXAMPLE.read_text()}```\n" in (ROOT / "README.md").read_text()
