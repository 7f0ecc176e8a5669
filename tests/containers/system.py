"""The system as containers on a network of its own, with mutual TLS: made, asked, disturbed, and removed by podman."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from controlplane.authority import Authority
from lensora.runtime.mesh import bootstrap
from lensora.runtime.probe import probe

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SERVICES = {"detect": 50051, "segment": 50052, "background": 50053, "mesh3d": 50054, "render": 50055}
MEMBERS = (*SERVICES, "controlplane", "gateway")
HEALTH_PORT = 18002
USER = 10001
BLOBS = "/var/lib/lensora/blobs"
CERTIFICATES = "/etc/lensora/tls"
PATIENCE = 120.0
"""Seconds for a container to become well on a busy machine."""

os.environ.setdefault("CONTAINERS_CONF", str(HERE / "containers.conf"))


def podman(*words: str | Path, check: bool = True) -> str:
    """What podman prints."""
    end = subprocess.run(["podman", *map(str, words)], check=False, capture_output=True, text=True)
    if check and end.returncode:
        raise AssertionError(f"podman {' '.join(map(str, words))}: {end.stderr[-2000:]}")
    return end.stdout.strip()


def tag() -> str:
    """Of the images under test."""
    return os.environ.get("TAG") or next(
        line.split('"')[1]
        for line in (ROOT / "pyproject.toml").read_text().splitlines()
        if line.startswith("version = ")
    )


def image(name: str) -> str:
    """Where podman has it."""
    return f"localhost/lensora-{name}:{tag()}"


class System:
    """Containers named ``<network>-<name>``; ``folder`` is what they share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = f"lensora-{os.getpid()}"
        self.authority = Authority.open(folder / "authority")
        self.seconds_to_serve = 0.0
        self.started: list[str] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[System]:
        """All seven, well."""
        self._lay_out()
        podman("network", "create", "--internal", self.network)
        try:
            begun = time.monotonic()
            with ThreadPoolExecutor(len(MEMBERS)) as threads:  # as an orchestrator does: nobody waits for anybody
                list(threads.map(self._start_well, MEMBERS))
            self.seconds_to_serve = time.monotonic() - begun
            self.start("caller", of="gateway", entrypoint=["sleep", "infinity"])
            yield self
        finally:
            for name in self.started:
                podman("rm", "--force", "--ignore", "--time", "0", self._called(name), check=False)
            podman("network", "rm", "--force", self.network, check=False)

    def start(
        self, name: str, *, of: str = "", alias: str = "", entrypoint: list[str] | None = None, newer: bool = False
    ) -> None:
        """Run one container as the chart would.

        Args:
            name: its own.
            of: the member that it is, where that is not its name.
            alias: further name on the network.
            entrypoint: in place of the image's.
            newer: a mesh3d that runs another engine, so that its calls are told apart.
        """
        member = of or name
        command = [
            "run",
            "--detach",
            "--pull",
            "never",
            "--name",
            self._called(name),
            "--network",
            self.network,
            "--network-alias",
            name,
        ]
        command += ["--network-alias", alias] if alias else []
        command += ["--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:rw,size=512m,mode=1777"]  # noqa: S108
        command += ["--cap-drop", "all", "--security-opt", "no-new-privileges"]
        command += ["--volume", f"{self.folder / 'tls'}:{CERTIFICATES}:ro", "--volume", f"{HERE}:/tests:ro"]
        command += [
            "--volume",
            f"{self.folder / 'home'}:/var/lib/lensora",
            "--volume",
            f"{self.folder / 'mesh'}:/etc/lensora/mesh",
        ]
        for variable, value in self._environment(member).items():
            command += ["--env", f"{variable}={value}"]
        command += ["--entrypoint", json.dumps(entrypoint)] if entrypoint else []
        if newer:
            command += [
                "--volume",
                f"{HERE / 'newer.py'}:/app/services/mesh3d/engines/newer.py:ro",
                "--env",
                "MESH3D_ENGINE=newer",
            ]
        if name not in self.started:
            self.started.append(name)
        podman(*command, image(member))

    def await_well(self, name: str) -> None:
        """Wait until it answers so from outside, as an orchestrator asks, and its image's own health check agrees."""
        deadline, address = time.monotonic() + PATIENCE, f"{self.address(name)}:{HEALTH_PORT}"
        while probe(address) or self.health(name):  # the latter costs a process that the machine could start with
            state = podman("inspect", "--format", "{{.State.Status}}", self._called(name))
            if state != "running" or time.monotonic() > deadline:
                raise AssertionError(f"{name} is {state}: {podman('logs', '--tail', '20', self._called(name))}")
            time.sleep(0.2)

    def health(self, name: str) -> str:
        """What is wrong with it; empty if nothing is."""
        end = subprocess.run(
            ["podman", "exec", self._called(name), "python", "-m", "lensora.runtime.probe"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        return "" if end.returncode == 0 else end.stderr or "it does not run"

    def stop(self, name: str) -> None:
        """As an orchestrator does: SIGTERM, and time to drain."""
        podman("stop", "--time", "60", self._called(name))
        podman("rm", "--force", "--ignore", self._called(name), check=False)

    def kill(self, name: str) -> None:
        """At once."""
        podman("rm", "--force", "--time", "0", self._called(name))

    def address(self, name: str) -> str:
        """Its IP address on the network."""
        found = json.loads(podman("inspect", self._called(name)))[0]["NetworkSettings"]["Networks"][self.network]
        return str(found["IPAddress"])

    def run_in(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """A command's end, inside."""
        words = ["podman", "exec", self._called(name), *command]
        return subprocess.run(words, check=False, capture_output=True, text=True)

    def calling(self, services: str, calls: int, seconds: float, canary: str = "") -> subprocess.Popen[str]:
        """Begin to call; see ``caller.py``."""
        words = [
            "podman",
            "exec",
            self._called("caller"),
            "python",
            "/tests/caller.py",
            services,
            str(calls),
            str(seconds),
        ]
        return subprocess.Popen(
            [*words, canary] if canary else words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def connected(self, calling: subprocess.Popen[str]) -> None:
        """Wait until it can call."""
        assert calling.stdout is not None
        assert calling.stdout.readline().strip() == "connected"

    def called(self, calling: subprocess.Popen[str]) -> dict[str, Any]:
        """What came of it."""
        out, err = calling.communicate(timeout=PATIENCE * 2)
        assert calling.returncode == 0, err[-2000:]
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return found

    def weigh(self, service: str, canary: int) -> None:
        """Give the canary its share of the calls."""
        file = self.folder / "mesh/mesh.yaml"
        mesh = yaml.safe_load(file.read_text())
        mesh["services"][service]["stable"]["weight"] = 100 - canary
        mesh["services"][service]["canary"]["weight"] = canary
        fresh = file.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(mesh))
        fresh.replace(file)

    def certify(self, name: str) -> None:
        """A new certificate for a member, in place of the one it has."""
        folder = self.folder / "tls" / name
        self.authority.issue(folder, name, days=1)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, USER, USER, follow_symlinks=False)

    def _start_well(self, name: str) -> None:
        self.start(name)
        self.await_well(name)

    def _lay_out(self) -> None:
        for name in ("tls", "home/blobs", "mesh"):
            (self.folder / name).mkdir(parents=True)
        shutil.copy(ROOT / "deploy/mesh/mesh.yaml", self.folder / "mesh")
        (self.folder / "mesh/bootstrap.json").write_text(
            bootstrap("dns:///controlplane:18000", "gateway", f"{CERTIFICATES}/gateway", 1.0)
        )
        for folder in ("home", "home/blobs", "mesh"):
            os.chown(self.folder / folder, USER, USER)
        for name in MEMBERS:
            self.certify(name)
        self.folder.chmod(0o755)

    def _environment(self, member: str) -> dict[str, str]:
        prefix = member.upper()
        told = {
            f"{prefix}_CERTIFICATES": f"{CERTIFICATES}/{member}",
            f"{prefix}_HEALTH_LISTEN": f"0.0.0.0:{HEALTH_PORT}",
            f"{prefix}_LISTEN": f"0.0.0.0:{SERVICES.get(member, 50050 if member == 'gateway' else 18000)}",
        }
        if member in SERVICES:
            told[f"{prefix}_BLOB_PREFIX"] = f"file://{BLOBS}/"
        if member == "controlplane":
            told["CONTROLPLANE_MESH"] = "/etc/lensora/mesh/mesh.yaml"
        if member == "gateway":
            told |= {f"GATEWAY_{name.upper()}_TARGET": f"{name}:{port}" for name, port in SERVICES.items()}
            told |= {"GATEWAY_HTTP_LISTEN": "0.0.0.0:8080", "GATEWAY_HOME": "/var/lib/lensora"}
            told["GRPC_XDS_BOOTSTRAP"] = "/etc/lensora/mesh/bootstrap.json"
        return told

    def _called(self, name: str) -> str:
        return f"{self.network}-{name}"
