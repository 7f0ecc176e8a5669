"""One real, supervised Triton in which tiny instances of the heavy models run, each by its own ``model.py``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lensora.runtime import tritonserver
from lensora.runtime.triton import Client
from lensora.runtime.tritonserver import REPOSITORY, TREE, Environment

HERE = Path(__file__).parent
MODELS = {
    "detect_open_vocabulary": {"weights": "florence"},
    "matte_birefnet": {"weights": "birefnet", "side": "64"},
    "scene_text_to_image": {"weights": "sdxl", "control": "control", "steps": "3"},
    "mesh_trellis": {"weights": "trellis", "code": "standins"},
    "mesh_trellis2": {"weights": "trellis2", "code": "standins"},
    "mesh_stable_fast_3d": {"weights": "sf3d", "code": "standins"},
}
"""The parameters that differ from the published ones; folders by their last part."""


SLOW_STEPS = 2000

VARIANTS = {
    "scene_flux": ("scene_text_to_image", {"weights": "flux", "control": "none", "steps": "2"}),
    "mesh_slow": ("mesh_trellis", {"weights": "slow", "code": "standins"}),
    "mesh_broken": ("mesh_trellis", {"weights": "broken", "code": "standins"}),
    "mesh_codeless": ("mesh_trellis", {"weights": "trellis"}),
    "matte_absent": ("matte_birefnet", {}),
    "matte_empty": ("matte_birefnet", {"weights": "slow"}),
    "matte_odd": ("matte_birefnet", {"weights": "birefnet", "precision": "int4"}),
    "matte_nowhere": ("matte_birefnet", {"weights": "/nowhere"}),
}
"""The same models under other names, with other weights, and with what keeps them from loading or working."""


@dataclass(frozen=True)
class Triton:
    """A running server."""

    address: str
    environment: Environment
    tiny: Path
    """A folder for each set of weights."""

    log: Path
    steps: Path
    """Where the stand-ins write a line a step."""

    server: psutil.Process

    @property
    def python(self) -> Path:
        """Of Triton's environment."""
        return self.environment.folder / "bin" / "python"

    def stub(self, model: str) -> psutil.Process | None:
        """The process that the model runs in; None if it is not loaded."""
        for child in self.server.children(recursive=True):
            if child.status() != psutil.STATUS_ZOMBIE and f"/{model}/" in " ".join(child.cmdline()[1:2]):
                return child
        return None


@pytest.fixture(scope="session")
def environment() -> Environment:
    """Triton's, with torch, transformers and diffusers; kept between runs."""
    requirements = TREE / "requirements"
    return tritonserver.install(requirements / "triton.txt", requirements / "heavy.txt")


@pytest.fixture(scope="session")
def tiny(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run(
        [environment.folder / "bin" / "python", HERE / "tiny.py", folder], check=True, capture_output=True, text=True
    )
    return folder


@pytest.fixture(scope="session")
def triton(environment: Environment, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    folder = tmp_path_factory.mktemp("triton")
    steps = folder / "steps"
    variables = os.environ | {"PYTHONPATH": str(TREE), "HF_HUB_OFFLINE": "1", "STANDIN_STEPS": str(steps)}
    variables["OMP_NUM_THREADS"] = "1"  # tiny networks on a busy machine only wait for a second thread
    variables["LENSORA_MODELS"] = str(folder / "none")
    for model, parameters in MODELS.items():
        shutil.copytree(REPOSITORY / model, folder / "repository" / model)
        variables |= _variables(model, parameters, tiny)
    for name, (model, parameters) in VARIANTS.items():
        shutil.copytree(REPOSITORY / model, folder / "repository" / name)
        variables |= _variables(name, parameters, tiny)
    command = [sys.executable, str(HERE / "supervised.py"), str(folder), str(environment.folder)]
    with (folder / "supervisor.log").open("w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=variables
        )
    assert process.stdout is not None
    told = json.loads(process.stdout.readline() or "{}")
    assert told, (folder / "supervisor.log").read_text()
    yield Triton(told["address"], environment, tiny, folder / "triton.log", steps, psutil.Process(told["pid"]))
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture
async def client(triton: Triton) -> AsyncIterator[Client]:
    opened = Client(triton.address, retry_seconds=0)
    yield opened
    await opened.close()


def _variables(model: str, parameters: Mapping[str, str], tiny: Path) -> dict[str, str]:
    """The environment that sets a model's parameters."""
    places = {"weights": tiny, "control": tiny, "code": HERE}
    given = {
        name: str(places[name] / value) if name in places and value != "none" else value
        for name, value in parameters.items()
    }
    return {f"{model}_{name}".upper(): value for name, value in given.items()}
