"""Triton on this machine without a container: its own Python, its process, and what has to be swept up behind it.

``nvidia-pytriton`` carries a real tritonserver with the Python backend. It is installed into an environment of its own,
because its stub needs numpy 1; only the binary is used. The same ``model_repository`` serves the official container.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import structlog

from lensora.core.errors import FailedPrecondition, LensoraError, Unavailable
from lensora.runtime.process import free_ports
from lensora.runtime.stubs import Stubs
from lensora.runtime.triton import Client
from lensora.runtime.tritonlog import Log
from lensora.runtime.watchdog import Watchdog

TREE = Path(__file__).parents[2]
"""Where the packages, the requirements and the models' code lie."""

REPOSITORY, REQUIREMENTS = TREE / "model_repository", TREE / "requirements" / "triton.txt"

LIGHT = ("saliency_u2netp", "detect_ssd", "classify_efficientnet")
"""The models of the embedded engines, which need no GPU and no weights but those that set-up fetches."""

_STOP_SECONDS, _EXIT_SECONDS = 10.0, 5
_SETTLED_SECONDS, _TRIES = 60.0, 3
"""Whoever ends so often in a row, each time before so many seconds, is not started again."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the kernel's name
"""Where Triton and its models' processes meet."""

_PREFIX = "lensora_triton"
_DIES = "import os, sys; from lensora.runtime.process import die_with_parent; die_with_parent(); "
_DIES += "os.execv(sys.argv[1], sys.argv[1:])"

_log = structlog.get_logger()


class TritonMissing(FailedPrecondition):
    """Triton's environment could not be made."""

    default_reason = "TRITON_NOT_INSTALLED"


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python environment that has the server in it."""

    folder: Path

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        return self.folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"

    @property
    def server(self) -> Path:
        """What ``nvidia-pytriton`` carries: binary, Python backend, a stub for each Python."""
        return self.packages / "pytriton" / "tritonserver"

    def link_backends(self, folder: Path) -> None:
        """Lay out a backends folder: the Python backend, the stub of this Python, and our package.

        The stub ignores ``PYTHONPATH``; the backend's folder is on its path.
        """
        python = folder / "python"
        python.mkdir(parents=True)
        backend = self.server / "backends" / "python"
        stub = self.server / "python_backend_stubs" / f"3.{sys.version_info.minor}" / "triton_python_backend_stub"
        files = [backend / "libtriton_python.so", backend / "triton_python_backend_utils.py", stub, TREE / "lensora"]
        for file in files:
            (python / file.name).symlink_to(file)

    def variables(self) -> dict[str, str]:
        """What the server's process adds to the environment."""
        # without Python's own folder the stub would load whatever libpython the system has
        libraries = (str(self.packages / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR"))
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ.get('PATH', '')}",
            "VIRTUAL_ENV": str(self.folder),
            "LD_LIBRARY_PATH": ":".join(libraries),
        }


def install(*requirements: Path) -> Environment:
    """Make Triton's environment of locked lists, or take the one that was made; blocks, minutes at first.

    It lies in ``$LENSORA_TRITON``, else ``~/.cache/lensora/triton``, under the digest of the lists and this Python.

    Args:
        requirements: ``REQUIREMENTS`` by default.

    Raises:
        TritonMissing: pip could not; the message is its last line.
    """
    lists = requirements or (REQUIREMENTS,)
    chosen = os.environ.get("LENSORA_TRITON")
    home = Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "lensora" / "triton"
    made_of = b"".join(file.read_bytes() for file in lists) + f"{sys.base_prefix} {sys.version}".encode()
    made = Environment(home / hashlib.sha256(made_of).hexdigest()[:12])
    complete = made.folder / ".complete"
    with _one_at_a_time(home):
        if not complete.exists():
            venv.create(made.folder, clear=True, with_pip=True, symlinks=True)
            options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
            # isolated: what lies on PYTHONPATH is not installed here
            command = [str(made.folder / "bin" / "python"), "-I", "-m", "pip", "install", *options]
            command += [word for file in lists for word in ("-r", str(file))]
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode != 0:
                said = done.stderr.strip().splitlines()
                raise TritonMissing(f"pip could not install Triton into {home}: {said[-1] if said else 'no word'}")
            complete.touch()
    return made


@contextlib.contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Let other processes that want the same wait."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(slots=True)
class Server:
    """A supervised tritonserver: started again when it ends, its models loaded again when they crash."""

    environment: Environment
    backends: Path
    """See ``Environment.link_backends``."""

    log: Log

    repository: Path
    models: tuple[str, ...]
    """Those to load at the start."""

    address: str
    """``host:port`` of its gRPC."""

    client: Client
    broken: asyncio.Future[None] = field(repr=False)
    """Raises ``Unavailable`` once the process cannot be kept up."""

    ready_seconds: float
    """How long it may take to start."""

    loaded: Callable[[], Iterable[str]] = tuple
    """All models that the process had loaded when it was last seen."""

    process: asyncio.subprocess.Process | None = None

    @property
    def _regions(self) -> str:
        """What the names of its shared memory begin with: whose it is, and which one's of several."""
        return f"{_PREFIX}_{os.getpid()}_{self.address.rpartition(':')[2]}_"

    async def start(self) -> None:
        """Start the process and wait until every model has answered a canary.

        Raises:
            Unavailable: it ended, or did not answer in time.
            LensoraError: what a model says is missing.
        """
        sweep(self._regions)
        ports = [int(self.address.rpartition(":")[2]), *free_ports(2)]
        command = [str(self.environment.server / "bin" / "tritonserver"), *self._options(ports)]
        with await self.log.follow() as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _DIES, *command,
                cwd=TREE, env={**os.environ, **self.environment.variables()},
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        ended = asyncio.ensure_future(self.process.wait())
        ready = asyncio.ensure_future(self._ready())
        try:
            await asyncio.wait({ended, ready}, timeout=self.ready_seconds, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                what = f"ended with status {ended.result()}" if ended.done() else "is not ready in time"
                raise Unavailable(f"Triton {what}; see {self.log.path}", reason="TRITON_DOWN")
            ready.result()
        finally:
            ended.cancel()
            ready.cancel()

    def _options(self, ports: Sequence[int]) -> list[str]:
        http, metrics = ports[1:]
        addresses = {"grpc": ports[0], "http": http, "metrics": metrics}
        named = {
            "model-repository": str(self.repository),
            "backend-directory": str(self.backends),
            # to be swept, ours must be told from others'
            "backend-config": f"python,shm-region-prefix-name={self._regions}",
            "model-control-mode": "explicit",  # polling reloads for ever
            "model-config-name": "cpu",
            "exit-timeout-secs": str(_EXIT_SECONDS),
            "exit-on-error": "false",  # who cannot load says why, and does not keep the others from serving
        }
        for name, port in addresses.items():
            named |= {f"{name}-address": "127.0.0.1", f"{name}-port": str(port)}
        loads = [f"--load-model={model}" for model in self.models]
        # auto-complete would start every model twice
        return [*(f"--{name}={value}" for name, value in named.items()), *loads, "--disable-auto-complete-config"]

    async def _ready(self) -> None:
        """Wait until the server is up; a model that is not says why."""
        while True:
            try:
                ready = {state.name for state in await self.client.states() if state.is_ready}
                break
            except LensoraError:
                await asyncio.sleep(0.05)
        for model in self.models:
            if model not in ready:
                await self.client.load(model)  # raises what keeps it from loading
            await self.client.canary(model)

    async def keep(self) -> None:
        """Start the process again whenever it ends, until cancelled; gives up when it does not come back."""
        failures = 0
        had: set[str] = set()
        while self.process is not None:
            started = time.monotonic()
            status = await self.process.wait()
            _log.warning("process ended", process="triton", status=status)
            self._kill()  # its models' processes, which may hold on to its addresses
            failures = failures + 1 if time.monotonic() - started < _SETTLED_SECONDS else 0
            had = had | set(self.loaded()) if failures > 1 else set(self.loaded())
            try:
                if failures == _TRIES:
                    raise Unavailable(f"it ended {failures} times; see {self.log.path}")
                await self.start()
                await self._load_again(had.difference(self.models))
            except LensoraError as error:
                if not self.broken.done():
                    self.broken.set_exception(Unavailable(f"triton: {error}", reason="PROCESS_DOWN"))
                return

    async def _load_again(self, models: Iterable[str]) -> None:
        """Load what was loaded since the last start, too; what fails is told, and keeps nobody waiting."""
        for model in sorted(models):
            try:
                await self.client.load(model)
            except LensoraError as error:
                _log.error("model not loaded again", model=model, reason=error.reason, message=error.message)

    async def stop(self) -> None:
        """End the process, by force if it lingers, and free its shared memory."""
        await self.client.close()
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), _STOP_SECONDS)
        self._kill()
        await self.log.ended()
        sweep(self._regions)

    def _kill(self) -> None:
        """End what is left of the process's group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def running(
    log: Path,
    models: tuple[str, ...] = LIGHT,
    repository: Path = REPOSITORY,
    environment: Environment | None = None,
    watch_seconds: float = 0.5,
    ready_seconds: float = 120.0,
) -> AsyncIterator[Server]:
    """A tritonserver that is ready, kept up, and gone at the end.

    Args:
        log: a file to append to; its folder must exist.
        models: to load at the start; others are loaded through ``Server.client``.
        repository: of models.
        environment: of Triton; by default that of ``requirements/triton.txt``, made if need be.
        watch_seconds: between two canaries of a model.
        ready_seconds: how long it may take to start.

    Raises:
        Unavailable, LensoraError: as ``Server.start``.
    """
    home = await asyncio.to_thread(install) if environment is None else environment
    sweep_the_dead()
    (grpc_port,) = free_ports(1)
    address = f"127.0.0.1:{grpc_port}"
    client = Client(address, retry_seconds=0)
    broken = asyncio.get_running_loop().create_future()
    with tempfile.TemporaryDirectory(prefix="lensora-triton-") as scratch:
        backends = Path(scratch) / "backends"
        home.link_backends(backends)
        server = Server(home, backends, Log(log), repository, models, address, client, broken, ready_seconds)
        watchdog = Watchdog(client, watch_seconds, Stubs(lambda: server.process.pid if server.process else None))
        server.loaded = watchdog.loaded
        keepers: list[asyncio.Task[None]] = []
        try:
            await server.start()
            keepers = [asyncio.create_task(server.keep()), asyncio.create_task(watchdog.watch())]
            yield server
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            broken.cancel()
            await asyncio.shield(server.stop())


def sweep(prefix: str) -> None:
    """Remove the shared memory regions of that name, which a killed server leaves behind."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def sweep_the_dead() -> None:
    """Remove what supervisors that were killed have left."""
    for region in SHARED_MEMORY.glob(f"{_PREFIX}_*"):
        owner = region.name.removeprefix(f"{_PREFIX}_").partition("_")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            region.unlink(missing_ok=True)
