"""API keys: who calls. A key is ``lsk_<id>_<secret>``; only the secret's SHA-256 is stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import insert, select, update

from gateway.store.database import Database
from gateway.store.tables import api_keys
from lensora.core.errors import InvalidArgument, NotFound, Unauthenticated

_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LABEL_LENGTH = 255
_KEY = re.compile(r"lsk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its owner may see it again: without its secret."""

    key_id: str
    account_id: str
    label: str
    created_at: datetime
    revoked_at: datetime | None


def check_account(account: str) -> None:
    """Raise ``InvalidArgument`` for what is no name of an account."""
    if not _ACCOUNT.fullmatch(account):
        raise InvalidArgument.of("account", "1 to 63 of a-z, 0-9 and -, not beginning with -")


def create_key(database: Database, account: str, label: str = "") -> str:
    """A new key of an account, which need not exist before; this is the only time that anyone sees it whole.

    Raises:
        InvalidArgument: field ``account`` or ``label``.
    """
    check_account(account)
    if len(label) > _LABEL_LENGTH or not label.isprintable():
        raise InvalidArgument.of("label", f"at most {_LABEL_LENGTH} characters, all of them printable")
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    row = {
        "key_id": key_id,
        "account_id": account,
        "secret_sha256": hashlib.sha256(secret.encode()).hexdigest(),
        "label": label,
        "created_at": datetime.now(UTC),
    }
    with database.writing() as connection:
        connection.execute(insert(api_keys).values(row))
    return f"lsk_{key_id}_{secret}"


def list_keys(database: Database) -> list[ApiKey]:
    """All keys of all accounts, oldest first."""
    columns = [api_keys.c[name] for name in ApiKey.__slots__]
    with database.reading() as connection:
        rows = connection.execute(select(*columns).order_by(api_keys.c.created_at, api_keys.c.key_id))
        return [ApiKey(*row) for row in rows]


def revoke_key(database: Database, key_id: str) -> None:
    """End a key; doing so again changes nothing.

    Raises:
        NotFound: reason ``KEY_NOT_FOUND``.
    """
    change = update(api_keys).where(api_keys.c.key_id == key_id).returning(api_keys.c.key_id)
    when = {"revoked_at": datetime.now(UTC)}
    with database.writing() as connection:
        if connection.execute(change.where(api_keys.c.revoked_at.is_(None)).values(when)).first() is None:
            known = connection.execute(select(api_keys.c.key_id).where(api_keys.c.key_id == key_id))
            if known.first() is None:
                raise NotFound("key_id: no such key", reason="KEY_NOT_FOUND")


def authenticate(database: Database, key: str) -> str:
    """The account that a key speaks for.

    Raises:
        Unauthenticated: no key, or one that is malformed, unknown or revoked; which of these is not told.
    """
    parts = _KEY.fullmatch(key)
    if parts is not None:
        query = select(api_keys.c.account_id, api_keys.c.secret_sha256).where(
            api_keys.c.key_id == parts[1], api_keys.c.revoked_at.is_(None)
        )
        with database.reading() as connection:
            row = connection.execute(query).first()
        if row is not None and hmac.compare_digest(row[1], hashlib.sha256(parts[2].encode()).hexdigest()):
            return str(row[0])
    raise Unauthenticated("a valid API key is required: Authorization: Bearer lsk_…", reason="UNAUTHENTICATED")
