"""Credits: double entry, append-only, in integers. A credit is $0.001.

Every account has four books: ``available`` (what it can spend), ``held`` (set aside for jobs that have not ended),
``earned`` (ours) and ``issued`` (the other side of what was granted, never positive). A transaction moves credits
between two of them, so all entries sum to zero at any moment. Its id says what it is for, and it happens once.

Every function works inside the transaction of the database that it is handed, together with whatever is paid for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Table, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.tables import balances, ledger_entries, ledger_transactions
from lensora.core.errors import AlreadyExists, FailedPrecondition, InvalidArgument

INIT_PRICE = 5
"""For a photo in which objects were detected."""

JOB_PRICE = 75
"""For a job that succeeded."""

MAX_GRANT = 10**12
"""At once; far from where 64 bits end."""

_ID_LENGTH = 64

Book = Literal["available", "held", "earned", "issued"]


@dataclass(frozen=True, slots=True)
class Balance:
    """The sums of an account's books."""

    available: int = 0
    held: int = 0
    earned: int = 0
    issued: int = 0


_NOTHING = asdict(Balance())


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction as its account sees it: what it changed of ``available`` and ``held``."""

    transaction_id: str
    kind: str
    available: int
    held: int
    created_at: datetime


def grant(connection: Connection, account: str, grant_id: str, credits_: int) -> bool:
    """Give credits, 1 to ``MAX_GRANT``; the same grant again does nothing. Returns whether it was the first.

    Raises:
        InvalidArgument: field ``credits`` or ``id``.
        AlreadyExists: reason ``GRANT_ID_REUSED``: a grant of this id gave something else, or to somebody else.
    """
    if not 1 <= credits_ <= MAX_GRANT:
        raise InvalidArgument.of("credits", f"1 to {MAX_GRANT:,}, not {credits_:,}")
    if not (0 < len(grant_id) <= _ID_LENGTH and grant_id.isascii() and grant_id.isprintable()):
        raise InvalidArgument.of("id", f"1 to {_ID_LENGTH} printable ASCII characters")
    transaction_id = f"grant:{grant_id}"
    if _move(connection, account, transaction_id, "grant", "issued", "available", credits_):
        return True
    if _booked(connection, account, transaction_id, "available") != credits_:
        raise AlreadyExists("id: used before, for another grant", reason="GRANT_ID_REUSED")
    return False


def charge_init(connection: Connection, account: str, session_id: str) -> None:
    """Take the price of an upload.

    Raises:
        FailedPrecondition: reason ``INSUFFICIENT_CREDITS``.
    """
    _move(connection, account, f"init:{session_id}", "init", "available", "earned", INIT_PRICE)


def hold(connection: Connection, account: str, job_id: str) -> None:
    """Set the price of a job aside.

    Raises:
        FailedPrecondition: reason ``INSUFFICIENT_CREDITS``.
    """
    _move(connection, account, f"hold:{job_id}", "hold", "available", "held", JOB_PRICE)


def settle(connection: Connection, account: str, job_id: str, *, succeeded: bool) -> bool:
    """End the job's hold, once: captured when it succeeded, else released. Returns whether this was the once.

    Whatever was held is what is settled, whatever a job costs by now; where nothing was held, nothing is.
    """
    held = _booked(connection, account, f"hold:{job_id}", "held")
    if held is None:
        return False
    kind = "capture" if succeeded else "release"
    to: Book = "earned" if succeeded else "available"
    # one id for both ends, so that a job cannot meet both
    return _move(connection, account, f"settle:{job_id}", kind, "held", to, held)


def balance(connection: Connection, account: str) -> Balance:
    """What the account has."""
    row = connection.execute(select(balances).where(balances.c.account_id == account)).mappings().first()
    return Balance(**{name: row[name] for name in Balance.__slots__}) if row else Balance()


def require(connection: Connection, account: str, credits_: int) -> None:
    """Refuse early what could not be paid for; who pays checks again.

    Raises:
        FailedPrecondition: reason ``INSUFFICIENT_CREDITS``.
    """
    available = balance(connection, account).available
    if available < credits_:
        raise _poor(available, credits_)


def entries(connection: Connection, account: str, limit: int) -> list[Entry]:
    """The account's latest transactions, newest first."""
    transactions, lines = ledger_transactions.c, ledger_entries.c
    wanted = (
        select(transactions.transaction_id, transactions.kind, transactions.created_at)
        .where(transactions.account_id == account)
        .order_by(transactions.created_at.desc(), transactions.transaction_id)
        .limit(limit)
        .subquery()
    )
    rows = connection.execute(
        select(wanted, lines.book, lines.amount)
        .join(ledger_entries, lines.transaction_id == wanted.c.transaction_id)
        .order_by(wanted.c.created_at.desc(), wanted.c.transaction_id)
    )
    found: dict[str, Entry] = {}
    for transaction_id, kind, created_at, book, amount in rows:
        entry = found.get(transaction_id, Entry(transaction_id, kind, 0, 0, created_at))
        found[transaction_id] = Entry(
            transaction_id,
            kind,
            amount if book == "available" else entry.available,
            amount if book == "held" else entry.held,
            created_at,
        )
    return list(found.values())


def _booked(connection: Connection, account: str, transaction_id: str, book: Book) -> int | None:
    """What a transaction of this account moved into one book; None where there is no such."""
    query = select(ledger_entries.c.amount).where(
        ledger_entries.c.transaction_id == transaction_id,
        ledger_entries.c.account_id == account,
        ledger_entries.c.book == book,
    )
    return connection.execute(query).scalar_one_or_none()


def _move(
    connection: Connection, account: str, transaction_id: str, kind: str, source: Book, to: Book, credits_: int
) -> bool:
    row = {"transaction_id": transaction_id, "account_id": account, "kind": kind, "created_at": datetime.now(UTC)}
    begun = _insert(connection, ledger_transactions).on_conflict_do_nothing()
    if connection.execute(begun.returning(ledger_transactions.c.transaction_id), row).first() is None:
        return False
    if source == "issued":  # a grant is the first that an account meets
        connection.execute(_insert(connection, balances).on_conflict_do_nothing(), {"account_id": account, **_NOTHING})
    change = update(balances).where(balances.c.account_id == account)
    if source == "available":
        change = change.where(balances.c.available >= credits_)
    change = change.values({source: balances.c[source] - credits_, to: balances.c[to] + credits_})
    if connection.execute(change.returning(balances.c.account_id)).first() is None:
        raise _poor(balance(connection, account).available, credits_)
    sides = [(source, -credits_), (to, credits_)]
    connection.execute(
        insert(ledger_entries),
        [{"transaction_id": transaction_id, "book": b, "account_id": account, "amount": a} for b, a in sides],
    )
    return True


def _insert(connection: Connection, table: Table) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _poor(available: int, needed: int) -> FailedPrecondition:
    message = f"{needed} credits needed, {available} available; nothing was charged"
    return FailedPrecondition(message, reason="INSUFFICIENT_CREDITS")
