"""What keeps a blob: rows that say who refers to it. What none refers to is rubbish, and may be removed at once.

A blob is pinned before it is written, and the pin goes when something refers to the blob: so there is no moment in
which one that is still wanted stands without a row, and no age need be guessed. Who removes holds the account's lock
from the look at the rows until the blobs are gone; who pins waits for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.store.tables import blob_references as table


def of_session(session_id: str) -> str:
    """The session as one who refers to its photo."""
    return f"session:{session_id}"


def of_job(job_id: str) -> str:
    """The job as one who refers to its picture and its artifacts."""
    return f"job:{job_id}"


def of_result(digest: str) -> str:
    """A kept result as one who refers to what is in it."""
    return f"result:{digest}"


def a_pin(token: str) -> str:
    """Work that is about to write blobs, and to make somebody refer to them."""
    return f"pin:{token}"


def lock(connection: Connection, account: str) -> None:
    """Be the only one who pins or removes in this account, to the end of the transaction."""
    if connection.dialect.name == "postgresql":  # SQLite has but one writer at a time
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(account, 0))))


def refer(connection: Connection, account: str, holder: str, digests: Iterable[str]) -> None:
    """Keep these blobs for the holder; saying it twice is harmless."""
    now = datetime.now(UTC)
    rows = [
        {"account_id": account, "sha256": sha256, "holder": holder, "created_at": now}
        for sha256 in sorted(set(digests))
    ]
    if rows:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def release(connection: Connection, account: str, holder: str) -> list[str]:
    """Keep nothing for the holder any longer; what was kept for it."""
    gone = delete(table).where(table.c.account_id == account, table.c.holder == holder).returning(table.c.sha256)
    return [sha256 for (sha256,) in connection.execute(gone)]


def unreferred(connection: Connection, account: str, digests: Sequence[str]) -> list[str]:
    """Those of these blobs that nobody refers to."""
    query = select(table.c.sha256).where(table.c.account_id == account, table.c.sha256.in_(digests))
    kept = {sha256 for (sha256,) in connection.execute(query)}
    return [sha256 for sha256 in dict.fromkeys(digests) if sha256 not in kept]
