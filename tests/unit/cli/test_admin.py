"""Keys, credits and versions on the command line, beside a gateway's database of either kind."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from gateway import accounts
from gateway.store import Database, schema
from lensora.core.errors import Unauthenticated

Lensora = Callable[..., Result]


@pytest.fixture
def lensora(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Lensora:
    """Runs a command on a database that nobody has touched."""
    monkeypatch.setenv("COLUMNS", "300")
    where = ["--database-url", empty_database]
    if empty_database.startswith("sqlite"):
        where = ["--home", str(Path(empty_database.removeprefix("sqlite:///")).parent)]
    return lambda *arguments: CliRunner().invoke(app, [*arguments, *where])


def told(result: Result) -> Any:
    """The JSON that was printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def authenticated(url: str, key: str) -> str | None:
    """Whose key the gateway takes it for."""

    async def ask() -> str | None:
        database = Database(url)
        try:
            return accounts.authenticate(database, key)
        except Unauthenticated:
            return None
        finally:
            database.close()

    return asyncio.run(ask())


def test_a_key_lives_until_it_is_revoked(lensora: Lensora, empty_database: str) -> None:
    made = told(lensora("keys", "create", "acme", "--label", "shop", "--json"))
    plain = lensora("keys", "create", "acme")
    assert re.fullmatch(r"lsk_\w{16}_[\w-]{43}\n", plain.stdout), "the key alone, for a pipe"
    assert authenticated(empty_database, made["key"]) == "acme"
    first, second = told(lensora("keys", "list", "--json"))
    assert (first["account"], first["label"], first["revoked"]) == ("acme", "shop", None)
    secret = made["key"].rpartition("_")[2]
    listed = lensora("keys", "list")
    assert "shop" in listed.stdout
    assert secret not in listed.stdout
    for _ in range(2):
        assert lensora("keys", "revoke", first["key_id"]).exit_code == 0
    assert authenticated(empty_database, made["key"]) is None
    assert authenticated(empty_database, plain.stdout.strip()) == "acme"
    first, second = told(lensora("keys", "list", "--json"))
    assert first["revoked"] is not None
    assert second["revoked"] is None


def test_a_webhook_secret_is_shown_as_often_as_it_is_asked_for(lensora: Lensora) -> None:
    first = lensora("keys", "webhook-secret", "acme").stdout
    assert first.startswith("whsec_")
    assert lensora("keys", "webhook-secret", "acme").stdout == first
    assert lensora("keys", "webhook-secret", "acme", "--renew").stdout not in ("", first)
    assert lensora("keys", "webhook-secret", "Acme").exit_code == 1


def test_credits_are_given_and_shown(lensora: Lensora) -> None:
    assert told(lensora("credits", "grant", "acme", "1000", "--id", "invoice-7", "--json"))["granted"] == 1000
    again = told(lensora("credits", "grant", "acme", "1000", "--id", "invoice-7", "--json"))
    assert again == {"account": "acme", "granted": 0, "available": 1000}
    assert "1,005 available" in lensora("credits", "grant", "acme", "5").stdout
    shown = told(lensora("credits", "show", "acme", "--json"))
    assert (shown["available"], shown["held"]) == (1005, 0)
    assert [(entry["kind"], entry["available"]) for entry in shown["entries"]] == [("grant", 5), ("grant", 1000)]
    assert shown["entries"][1]["id"] == "grant:invoice-7"
    assert len(told(lensora("credits", "show", "acme", "--limit", "1", "--json"))["entries"]) == 1
    words = lensora("credits", "show", "acme").stdout
    assert "1,005 available" in words
    assert "grant:invoice-7" in words
    assert told(lensora("credits", "show", "nobody", "--json")) == {"available": 0, "held": 0, "entries": []}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("keys", "create", "Acme"), "INVALID_ARGUMENT"),
        (("keys", "create", "-acme"), ""),
        (("keys", "create", "acme", "--label", "x" * 256), "INVALID_ARGUMENT"),
        (("keys", "create", "acme", "--label", "a\x00b"), "INVALID_ARGUMENT"),
        (("keys", "revoke", "0123456789abcdef"), "KEY_NOT_FOUND"),
        (("credits", "grant", "Acme", "5"), "INVALID_ARGUMENT"),
        (("credits", "grant", "acme", "0"), "INVALID_ARGUMENT"),
        (("credits", "grant", "acme", "9" * 30), "INVALID_ARGUMENT"),
        (("credits", "grant", "acme", "5", "--id", "x" * 65), "INVALID_ARGUMENT"),
        (("credits", "show", "\udcff"), "INVALID_ARGUMENT"),
        (("db", "downgrade", "0009", "--yes"), "INVALID_ARGUMENT"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(lensora: Lensora, arguments: tuple[str, ...], reason: str) -> None:
    result = lensora(*arguments)
    assert result.exit_code != 0
    assert result.stdout == ""
    if reason:
        assert result.exit_code == 1
        assert result.stderr.startswith(f"{reason}  ")
        assert result.stderr.count("\n") == 1


def test_a_grant_id_is_one_grants(lensora: Lensora) -> None:
    assert lensora("credits", "grant", "acme", "5", "--id", "a").exit_code == 0
    result = lensora("credits", "grant", "acme", "6", "--id", "a")
    assert result.exit_code == 1
    assert "GRANT_ID_REUSED" in result.stderr


def test_versions_go_up_and_down(lensora: Lensora) -> None:
    assert "version none" in lensora("db", "show").stdout
    assert lensora("db", "upgrade").exit_code == 0
    newest = schema.newest()
    assert f"version {newest}; this build works with {newest}" in lensora("db", "show").stdout
    asked = lensora("db", "downgrade", "0001")
    assert asked.exit_code == 1
    assert f"version {newest}" in lensora("db", "show").stdout, "nobody said yes"
    assert lensora("db", "downgrade", "0001", "--yes").exit_code == 0
    refused = lensora("keys", "list")
    assert refused.exit_code == 1
    assert "run lensora db upgrade" in refused.stderr
    assert lensora("db", "upgrade").exit_code == 0
    assert lensora("keys", "list").exit_code == 0


def test_the_gateways_own_settings_say_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_HOME", str(tmp_path / "not" / "yet"))
    assert CliRunner().invoke(app, ["keys", "create", "acme"]).exit_code == 0
    assert (tmp_path / "not" / "yet" / "studio.db").exists()
    monkeypatch.setenv("GATEWAY_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    assert told(CliRunner().invoke(app, ["keys", "list", "--json"])) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("no url", "INVALID_ARGUMENT"),
        ("mysql://a/b", "INVALID_ARGUMENT"),
        ("postgresql://u@127.0.0.1:1/x", "DATABASE_UNAVAILABLE"),
    ],
)
def test_a_database_that_is_none(url: str, reason: str) -> None:
    result = CliRunner().invoke(app, ["keys", "list", "--database-url", url])
    assert result.exit_code == 1
    assert result.stderr.startswith(reason)
