"""``lensora keys``, ``credits`` and ``db``: what an operator does to a gateway's database."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from cli.running import typed_errors

if TYPE_CHECKING:
    from gateway.store import Database

keys_app = typer.Typer(no_args_is_help=True, help="API keys of a gateway that asks for them (GATEWAY_AUTH=keys).")
credits_app = typer.Typer(no_args_is_help=True, help="What accounts may spend. A credit is $0.001.")
db_app = typer.Typer(no_args_is_help=True, help="The version of a gateway's tables.")

Home = Annotated[Path | None, typer.Option(help="Folder of the gateway's database; else GATEWAY_HOME, or its default.")]
Url = Annotated[str | None, typer.Option("--database-url", help="Of Postgres; else GATEWAY_DATABASE_URL.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
Account = Annotated[str, typer.Argument(help="1 to 63 of a-z, 0-9 and -.")]
Result = TypeVar("Result")


@keys_app.command("create")
def create_key(
    account: Account,
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    home: Home = None,
    database_url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a key; it is shown this once."""
    from gateway import accounts

    key = _on(home, database_url, lambda database: accounts.create_key(database, account, label))
    if as_json:
        typer.echo(json.dumps({"account": account, "key": key}))
    else:
        Console(stderr=True).print(f"The key of {account}, shown this once:", highlight=False)
        typer.echo(key)


@keys_app.command("list")
def list_keys(home: Home = None, database_url: Url = None, as_json: Json = False) -> None:
    """All keys of all accounts, without their secrets."""
    from gateway import accounts

    keys = _on(home, database_url, accounts.list_keys)
    rows = [
        {
            "key_id": key.key_id,
            "account": key.account_id,
            "label": key.label,
            "created": key.created_at.isoformat(timespec="seconds"),
            "revoked": key.revoked_at and key.revoked_at.isoformat(timespec="seconds"),
        }
        for key in keys
    ]
    _print(rows, as_json)


@keys_app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="As `lensora keys list` shows it.")],
    home: Home = None,
    database_url: Url = None,
) -> None:
    """End a key, at once and for good."""
    from gateway import accounts

    _on(home, database_url, lambda database: accounts.revoke_key(database, key_id))
    typer.echo(f"{key_id} is revoked")


@keys_app.command("webhook-secret")
def webhook_secret(
    account: Account,
    renew: Annotated[bool, typer.Option("--renew", help="Make a new one, in place of the old from now on.")] = False,
    home: Home = None,
    database_url: Url = None,
) -> None:
    """What the account's webhooks are signed with (Standard Webhooks)."""
    from gateway import accounts, webhooks

    def read(database: Database) -> str:
        accounts.check_account(account)
        with database.writing() as connection:
            return webhooks.secret(connection, account, renew=renew)

    typer.echo(_on(home, database_url, read))


@credits_app.command("grant")
def grant_credits(
    account: Account,
    amount: Annotated[int, typer.Argument(help="Credits, at least one.")],
    grant_id: Annotated[
        str | None, typer.Option("--id", help="Name of this grant: the same one again gives nothing more.")
    ] = None,
    home: Home = None,
    database_url: Url = None,
    as_json: Json = False,
) -> None:
    """Give credits to an account."""
    from gateway import accounts, ledger

    def grant(database: Database) -> tuple[bool, int]:
        accounts.check_account(account)
        with database.writing() as connection:
            first = ledger.grant(connection, account, grant_id or str(uuid.uuid4()), amount)
            return first, ledger.balance(connection, account).available

    first, available = _on(home, database_url, grant)
    if as_json:
        typer.echo(json.dumps({"account": account, "granted": amount if first else 0, "available": available}))
    else:
        what = f"{amount:,} credits given" if first else "given before; nothing changed"
        typer.echo(f"{account}: {what}; {available:,} available")


@credits_app.command("show")
def show_credits(
    account: Account,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the latest entries.")] = 20,
    home: Home = None,
    database_url: Url = None,
    as_json: Json = False,
) -> None:
    """An account's balance, and what changed it."""
    from gateway import accounts, ledger

    def read(database: Database) -> tuple[ledger.Balance, list[ledger.Entry]]:
        accounts.check_account(account)
        with database.reading() as connection:
            return ledger.balance(connection, account), ledger.entries(connection, account, limit)

    balance, entries = _on(home, database_url, read)
    rows = [
        {
            "time": entry.created_at.isoformat(timespec="seconds"),
            "kind": entry.kind,
            "available": entry.available,
            "held": entry.held,
            "id": entry.transaction_id,
        }
        for entry in entries
    ]
    if as_json:
        typer.echo(json.dumps({"available": balance.available, "held": balance.held, "entries": rows}))
    else:
        typer.echo(f"{account}: {balance.available:,} available, {balance.held:,} held, {balance.earned:,} spent")
        _print(rows, as_json)


@db_app.command("show")
def show_version(home: Home = None, database_url: Url = None) -> None:
    """The version of the tables, and the one that this build works with."""
    from gateway.store import schema

    found = _on(home, database_url, lambda database: _in_schema(database, schema.current), migrated=False)
    typer.echo(f"the database is at version {found or 'none'}; this build works with {schema.newest()}")


@db_app.command("upgrade")
def upgrade(home: Home = None, database_url: Url = None) -> None:
    """Bring the tables to what this build works with; the gateway does so by itself unless GATEWAY_MIGRATE is off."""
    from gateway.store import schema

    _on(home, database_url, lambda database: _in_schema(database, schema.upgrade), migrated=False)
    typer.echo(f"the database is at version {schema.newest()}")


@db_app.command("downgrade")
def downgrade(
    version: Annotated[str, typer.Argument(help="Such as 0001, or `base` for no tables at all.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
    database_url: Url = None,
) -> None:
    """Bring the tables back to an older version, with all gateways stopped; what that cannot hold is lost."""
    from gateway.store import schema

    if not yes:
        typer.confirm("What the older version cannot hold is lost for good. Go on?", abort=True)
    _on(home, database_url, lambda database: _in_schema(database, schema.downgrade, version), migrated=False)
    typer.echo(f"the database is at version {'none' if version == 'base' else version}")


def _in_schema(database: Database, change: Callable[..., Result], *values: Any) -> Result:
    with database.writing() as connection:
        return change(connection, *values)


def _on(
    home: Path | None, database_url: str | None, work: Callable[[Database], Result], *, migrated: bool = True
) -> Result:
    """What ``work`` makes of the gateway's database, whose tables are made first where there are none."""
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

    from gateway.settings import Settings
    from gateway.store import Database, schema
    from lensora.core.errors import InvalidArgument, Unavailable

    with typed_errors(Console(stderr=True)):
        given = {"home": home, "database_url": database_url}
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        if not settings.database_url:
            settings.home.mkdir(parents=True, exist_ok=True)
        try:
            database = Database.of(settings)
        except (ArgumentError, NoSuchModuleError):
            raise InvalidArgument.of("database-url", "postgresql://user:password@host/name") from None
        try:
            if migrated:
                _in_schema(database, schema.create_or_require)
            return work(database)
        except DBAPIError as error:
            raise Unavailable(f"the database does not answer: {error.orig}", reason="DATABASE_UNAVAILABLE") from error
        finally:
            database.close()
    raise AssertionError("typed_errors ends the command")


def _print(rows: list[dict[str, Any]], as_json: bool) -> None:  # noqa: FBT001
    if as_json:
        typer.echo(json.dumps(rows))
    elif rows:
        table = Table(*rows[0], box=None)
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        Console().print(table)
