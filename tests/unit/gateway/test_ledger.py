"""Credits: never negative, never twice, summing to zero, whoever races whom, on both databases."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from gateway import ledger
from gateway.ledger import INIT_PRICE, JOB_PRICE, MAX_GRANT, Balance
from gateway.store import Database
from gateway.store.tables import balances
from lensora.core.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from tests.unit.gateway.books import audit

ME = "somebody"


async def book(database: Database, change: Callable[..., Any], *values: Any, **options: Any) -> Any:
    """One change in a transaction of its own, in a thread."""

    def write() -> Any:
        with database.writing() as connection:
            return change(connection, *values, **options)

    return await database.run(write)


async def balance(database: Database, account: str = ME) -> Balance:
    with database.reading() as connection:
        return ledger.balance(connection, account)


async def held(database: Database, job_id: str, account: str = ME) -> bool:
    """Try to hold the price of a job."""
    try:
        await book(database, ledger.hold, account, job_id)
    except FailedPrecondition as error:
        assert error.reason == "INSUFFICIENT_CREDITS"
        return False
    return True


async def test_a_job_that_succeeds_is_paid_and_one_that_fails_is_not(database: Database) -> None:
    assert await book(database, ledger.grant, ME, "g", 1000)
    await book(database, ledger.charge_init, ME, "s")
    for job_id in ("good", "bad", "open"):
        assert await held(database, job_id)
    assert await book(database, ledger.settle, ME, "good", succeeded=True)
    assert await book(database, ledger.settle, ME, "bad", succeeded=False)
    assert await balance(database) == Balance(
        1000 - INIT_PRICE - 2 * JOB_PRICE, JOB_PRICE, INIT_PRICE + JOB_PRICE, -1000
    )
    with database.reading() as connection:
        entries = ledger.entries(connection, ME, 100)
        newest = ledger.entries(connection, ME, 2)
    assert newest == entries[:2]
    assert [(entry.kind, entry.available, entry.held) for entry in reversed(entries)] == [
        ("grant", 1000, 0),
        ("init", -INIT_PRICE, 0),
        *[("hold", -JOB_PRICE, JOB_PRICE)] * 3,
        ("capture", 0, -JOB_PRICE),
        ("release", JOB_PRICE, -JOB_PRICE),
    ]
    await audit(database)


async def test_everything_happens_once(database: Database) -> None:
    assert await book(database, ledger.grant, ME, "g", 1000)
    assert not await book(database, ledger.grant, ME, "g", 1000)
    for _ in range(3):
        await book(database, ledger.charge_init, ME, "s")
        await book(database, ledger.hold, ME, "j")
    settled = [await book(database, ledger.settle, ME, "j", succeeded=good) for good in (False, True, False, True)]
    assert settled == [True, False, False, False]
    assert await balance(database) == Balance(1000 - INIT_PRICE, 0, INIT_PRICE, -1000)
    await audit(database)


async def test_a_grant_cannot_change(database: Database) -> None:
    await book(database, ledger.grant, ME, "g", 1000)
    for account, credits_ in ((ME, 999), ("another", 1000)):
        with pytest.raises(AlreadyExists) as caught:
            await book(database, ledger.grant, account, "g", credits_)
        assert caught.value.reason == "GRANT_ID_REUSED"
    for credits_ in (0, -1, MAX_GRANT + 1):
        with pytest.raises(InvalidArgument):
            await book(database, ledger.grant, ME, "h", credits_)
    assert (await balance(database)).available == 1000


async def test_what_was_not_held_is_not_settled(database: Database) -> None:
    await book(database, ledger.grant, ME, "g", 1000)
    await held(database, "j")
    assert not await book(database, ledger.settle, ME, "another", succeeded=True)
    assert not await book(database, ledger.settle, "thief", "j", succeeded=False)
    assert await balance(database) == Balance(1000 - JOB_PRICE, JOB_PRICE, 0, -1000)


async def test_what_was_held_is_settled_whatever_a_job_costs_by_now(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await book(database, ledger.grant, ME, "g", 1000)
    await held(database, "j")
    monkeypatch.setattr(ledger, "JOB_PRICE", JOB_PRICE + 1)
    assert await book(database, ledger.settle, ME, "j", succeeded=True)
    assert await balance(database) == Balance(1000 - JOB_PRICE, 0, JOB_PRICE, -1000)


async def test_nobody_spends_what_is_not_there(database: Database) -> None:
    assert not await held(database, "j")
    await book(database, ledger.grant, ME, "g", JOB_PRICE + INIT_PRICE - 1)
    assert await held(database, "j")
    with pytest.raises(FailedPrecondition, match="5 credits needed, 4 available"):
        await book(database, ledger.charge_init, ME, "s")
    with database.reading() as connection:
        with pytest.raises(FailedPrecondition):
            ledger.require(connection, ME, INIT_PRICE)
        ledger.require(connection, ME, INIT_PRICE - 1)
    await audit(database)


async def test_what_is_taken_back_never_happened(database: Database) -> None:
    await book(database, ledger.grant, ME, "g", 1000)
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        ledger.hold(connection, ME, "j")
        raise ZeroDivisionError
    assert await balance(database) == Balance(1000, 0, 0, -1000)
    assert await held(database, "j")
    await audit(database)


@pytest.mark.parametrize("changes", [{"available": -2, "issued": 2}, {"held": -75}, {"available": 1}, {"issued": 1}])
async def test_the_database_itself_refuses_wrong_balances(database: Database, changes: dict[str, int]) -> None:
    await book(database, ledger.grant, ME, "g", 1)
    with pytest.raises(DBAPIError), database.writing() as connection:
        connection.execute(update(balances).values({name: balances.c[name] + by for name, by in changes.items()}))


async def test_hundreds_of_holds_at_once_take_what_there_is_and_no_more(database_url: str, database: Database) -> None:
    others = [database, *(Database(database_url) for _ in range(2))]
    await book(database, ledger.grant, ME, "g", 40 * JOB_PRICE + JOB_PRICE - 1)
    attempts = [held(others[number % 3], f"job-{number % 100}") for number in range(200)]
    outcomes = await asyncio.gather(*attempts)
    assert await balance(database) == Balance(JOB_PRICE - 1, 40 * JOB_PRICE, 0, -(40 * JOB_PRICE + JOB_PRICE - 1))
    assert 40 <= sum(outcomes) <= 80, "each of forty jobs, as often as it was asked for"
    ends = [(f"job-{number}", good) for number in range(100) for good in (True, False)]
    settled = await asyncio.gather(
        *(book(others[n % 3], ledger.settle, ME, job_id, succeeded=good) for n, (job_id, good) in enumerate(ends))
    )
    assert sum(settled) == 40
    after = await balance(database)
    assert (after.held, after.available + after.earned) == (0, -after.issued)
    await audit(database)
    for other in others[1:]:
        other.close()


WORK = """
import asyncio, random, sys
from gateway import ledger
from gateway.store import Database
from lensora.core.errors import FailedPrecondition

def once(database, draw):
    job, account = f"job-{draw.randrange(15)}", "abc"[draw.randrange(3)]
    try:
        with database.writing() as connection:
            if draw.random() < 0.5:
                ledger.hold(connection, account, f"{account}-{job}")
            else:
                ledger.settle(connection, account, f"{account}-{job}", succeeded=draw.random() < 0.5)
            if draw.random() < 0.2:
                raise ZeroDivisionError
    except (FailedPrecondition, ZeroDivisionError):
        pass

async def main():
    database, draw = Database(sys.argv[1]), random.Random(int(sys.argv[2]))
    for _ in range(8):
        await asyncio.gather(*(database.run(once, database, draw) for _ in range(8)))
    database.close()

asyncio.run(main())
"""


async def test_several_processes_keep_the_books_in_order(database_url: str, database: Database) -> None:
    for account in "abc":
        await book(database, ledger.grant, account, account, 10 * JOB_PRICE)
    command = (sys.executable, "-c", WORK, database_url)
    workers = [await asyncio.create_subprocess_exec(*command, str(seed)) for seed in range(3)]
    work = asyncio.gather(*(worker.wait() for worker in workers))
    while not work.done():
        await audit(database)
        await asyncio.wait([work], timeout=0.5)
    assert await work == [0, 0, 0]
    await audit(database)
    sums = [await balance(database, account) for account in "abc"]
    assert {-one.issued for one in sums} == {10 * JOB_PRICE}
    assert sum(one.earned for one in sums) > 0, "it was no idle test"
