"""The version of the tables: what it is, and how to change it. Every function takes a writing transaction.

The steps lie in ``migrations/versions``; a new one is written by hand, and a test says what it lacks. SQLite and
Postgres both take back a step that fails half-way.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from lensora.core.errors import FailedPrecondition, InvalidArgument

_RELEASE_0_1 = "0001"
"""What a database holds that was made before versions were noted in it."""

_LOCK = 0x4C656E736F7261
"""Of all gateways on one Postgres."""


def newest() -> str:
    """The version that this build works with."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def current(connection: Connection) -> str:
    """The database's version; empty where there are no tables."""
    noted = MigrationContext.configure(connection).get_current_revision()
    if noted is None and inspect(connection).has_table("jobs"):
        return _RELEASE_0_1
    return noted or ""


def upgrade(connection: Connection) -> None:
    """Bring the tables to what this build works with; other replicas that try the same wait.

    Raises:
        FailedPrecondition: reason ``SCHEMA_TOO_NEW``.
    """
    _take_turns(connection)
    if current(connection) == newest():
        return
    _refuse_newer(connection)
    if current(connection) == _RELEASE_0_1:  # noted or not
        command.stamp(_config(connection), _RELEASE_0_1)
    command.upgrade(_config(connection), "head")


def downgrade(connection: Connection, version: str) -> None:
    """Bring the tables back to an older version, or with ``base`` to none; what that one cannot hold is lost.

    Raises:
        InvalidArgument: field ``version``: there is none such below the present one.
        FailedPrecondition: reason ``SCHEMA_TOO_NEW``.
    """
    _take_turns(connection)
    _refuse_newer(connection)
    if version != "base" and not (version in _known() and version < current(connection)):
        raise InvalidArgument.of("version", f"base, or one below {current(connection) or 'base'}")
    command.downgrade(_config(connection), version)


def require_newest(connection: Connection) -> None:
    """Refuse tables that this build does not work with.

    Raises:
        FailedPrecondition: reason ``SCHEMA_TOO_NEW`` or ``SCHEMA_TOO_OLD``.
    """
    _refuse_newer(connection)
    found = current(connection)
    if found != newest():
        message = (
            f"the database is at version {found or 'none'}, and this build needs {newest()}: run lensora db upgrade"
        )
        raise FailedPrecondition(message, reason="SCHEMA_TOO_OLD")


def create_or_require(connection: Connection) -> None:
    """Make the tables where there are none; leave the rest as it is, and refuse it as ``require_newest`` does."""
    (require_newest if current(connection) else upgrade)(connection)


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _refuse_newer(connection: Connection) -> None:
    found = current(connection)
    if found and found not in _known():
        message = f"the database is at version {found}, of a newer build; this one knows them up to {newest()}"
        raise FailedPrecondition(message, reason="SCHEMA_TOO_NEW")


def _take_turns(connection: Connection) -> None:
    """Wait for whoever else changes the tables; on SQLite a writing transaction is alone."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
