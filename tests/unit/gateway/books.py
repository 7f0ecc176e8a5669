"""What holds for the ledger at any moment, read from its tables alone."""

from __future__ import annotations

from sqlalchemy import func, select

from gateway.store import Database
from gateway.store.tables import balances, ledger_entries, ledger_transactions

BOOKS = ("available", "held", "earned", "issued")


async def audit(database: Database) -> None:
    """Raise ``AssertionError`` unless all books are in order, seen in one snapshot."""
    entries, transactions = ledger_entries.c, ledger_transactions.c
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        per_book = select(entries.account_id, entries.book, func.sum(entries.amount)).group_by(
            entries.account_id, entries.book
        )
        sums = {(account, book): amount for account, book, amount in connection.execute(per_book)}
        rows = connection.execute(select(balances)).mappings().all()
        sides = select(entries.transaction_id, func.sum(entries.amount), func.count(), func.min(entries.account_id))
        per_transaction = {row[0]: tuple(row[1:]) for row in connection.execute(sides.group_by(entries.transaction_id))}
        owned = select(transactions.transaction_id, transactions.account_id)
        owners = {row.transaction_id: (0, 2, row.account_id) for row in connection.execute(owned)}
    for row in rows:
        kept = {book: row[book] for book in BOOKS}
        assert kept == {book: int(sums.get((row["account_id"], book), 0)) for book in BOOKS}, row["account_id"]
        assert sum(kept.values()) == 0
        assert min(kept["available"], kept["held"], kept["earned"], -kept["issued"]) >= 0
    assert {account for account, _ in sums} <= {row["account_id"] for row in rows}
    assert per_transaction == owners
