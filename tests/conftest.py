"""What all tests may ask for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from gateway.store import Database, schema
from tests import s3
from tests.postgres import Postgres, running_postgres

KINDS = ("sqlite", "postgres")
"""Of databases."""

_SPARE = "PRAGMA synchronous=OFF"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A Postgres server, started for the first test that asks for it."""
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of a real S3 server; each test uses a prefix of its own."""
    with s3.running_server(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of moto, which speaks S3 in another's words; each test uses a prefix of its own."""
    with s3.running_moto(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables, to copy."""
    file = tmp_path_factory.mktemp("template") / "studio.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a database with all tables, to copy."""
    postgres.execute("CREATE DATABASE template_studio")
    _migrate(postgres.url("template_studio"))
    return "template_studio"


def _migrate(url: str) -> None:
    engine = Database(url).workflow_engine()
    with engine.begin() as connection:
        schema.upgrade(connection)
    engine.dispose()


@pytest.fixture(params=KINDS)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database without tables, one of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'studio.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database with all tables, one of each kind in turn."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "studio.db")
        return f"sqlite:///{tmp_path / 'studio.db'}"
    template = request.getfixturevalue("postgres_template")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database(template)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A connection to it."""
    made = hurried(database_url)
    yield made
    made.close()


def hurried(url: str) -> Database:
    """A connection that spares the disk, because no test here pulls the plug."""
    made = Database(url)
    if made.is_sqlite:
        event.listen(made._engine, "connect", lambda connection, _: connection.execute(_SPARE))
    return made


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key, and a certificate of its own for photos.example."""
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    options = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=photos.example"
    names = "subjectAltName=DNS:photos.example,DNS:other.example"
    command = ["openssl", "req", "-x509", *options.split(), "-addext", names, "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    return key, chain
