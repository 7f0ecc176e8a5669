"""A real Postgres for the tests: Debian's, in a folder of its own, on a socket that only it has."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from lensora.runtime.process import die_with_parent

_BIN = Path("/usr/lib/postgresql/15/bin")
_FAST = {
    "fsync": "off",  # no test here pulls the plug
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "300",
    "listen_addresses": "",
}
_STOP_SECONDS = 20.0


class Postgres:
    """A running server; every database it gives out is fresh."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._templates: set[str] = set()

    def new_database(self, template: str = "template1") -> str:
        """The URL of a new database, a copy of ``template``, to which nobody may be connected."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def url(self, name: str) -> str:
        """Where a database is."""
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def execute(self, statement: str) -> None:
        """Run a statement of an administrator's."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that ends with this process, however that ends."""
    # not pytest's folder: Postgres refuses to be root, and another user cannot look in there
    folder = Path(tempfile.mkdtemp(prefix="lensora-pg-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    try:
        initdb = [str(_BIN / "initdb"), "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"]
        subprocess.run([*initdb, "--no-sync", str(data)], check=True, capture_output=True, cwd=folder, **user)
        options = [f"--{name}={value}" for name, value in _FAST.items()]
        with (folder / "log").open("wb") as log:
            command = [str(_BIN / "postgres"), "-D", str(data), "-k", str(folder), *options]
            server = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, preexec_fn=partial(die_with_parent, signal.SIGINT), **user
            )
        try:
            ready = [str(_BIN / "pg_isready"), "--quiet", f"--host={folder}", "--timeout=1"]
            while subprocess.run(ready, check=False).returncode != 0:
                if server.poll() is not None:
                    raise RuntimeError((folder / "log").read_text())
                time.sleep(0.05)
            yield Postgres(folder)
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
            try:
                server.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(folder)
