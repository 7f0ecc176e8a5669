"""The ledger beside a model of it in a few lines: whatever is done in whatever order, the two agree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gateway import ledger
from gateway.ledger import INIT_PRICE, JOB_PRICE, Balance
from gateway.store import Database
from lensora.core.errors import FailedPrecondition
from tests.conftest import hurried
from tests.unit.gateway.books import audit

names = st.sampled_from(["a", "b", "c", "d"])


class Machine(RuleBasedStateMachine):
    """One account, and a few jobs and sessions, each of which may meet the same call many times."""

    runner: ClassVar[asyncio.Runner]
    database: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        self.account = f"model-{uuid4()}"
        self.balance = Balance()
        self.done: dict[str, Any] = {}

    def _book(self, change: Callable[..., Any], name: str, *values: Any, **options: Any) -> Any:
        with self.database.writing() as connection:
            return change(connection, self.account, f"{self.account}-{name}"[-36:], *values, **options)

    def _moved(self, available: int = 0, held: int = 0, earned: int = 0, issued: int = 0) -> Balance:
        old = self.balance
        return Balance(old.available + available, old.held + held, old.earned + earned, old.issued + issued)

    def _spend(self, what: str, name: str, change: Callable[..., Any], after: Balance) -> None:
        if f"{what}-{name}" not in self.done and after.available < 0:
            with pytest.raises(FailedPrecondition):
                self._book(change, name)
            return
        self._book(change, name)
        if f"{what}-{name}" not in self.done:
            self.done[f"{what}-{name}"] = True
            self.balance = after

    @rule(name=names, credits_=st.integers(1, 300))
    def grant(self, name: str, credits_: int) -> None:
        first = f"grant-{name}" not in self.done
        credits_ = self.done.setdefault(f"grant-{name}", credits_)
        assert self._book(ledger.grant, name, credits_) == first
        if first:
            self.balance = self._moved(available=credits_, issued=-credits_)

    @rule(name=names)
    def charge_init(self, name: str) -> None:
        self._spend("init", name, ledger.charge_init, self._moved(available=-INIT_PRICE, earned=INIT_PRICE))

    @rule(name=names)
    def hold(self, name: str) -> None:
        self._spend("hold", name, ledger.hold, self._moved(available=-JOB_PRICE, held=JOB_PRICE))

    @rule(name=names, succeeded=st.booleans())
    def settle(self, name: str, succeeded: bool) -> None:  # noqa: FBT001
        first = f"hold-{name}" in self.done and f"settle-{name}" not in self.done
        assert self._book(ledger.settle, name, succeeded=succeeded) == first
        if first:
            self.done[f"settle-{name}"] = True
            to = "earned" if succeeded else "available"
            self.balance = self._moved(held=-JOB_PRICE, **{to: JOB_PRICE})

    @invariant()
    def agree(self) -> None:
        with self.database.reading() as connection:
            assert ledger.balance(connection, self.account) == self.balance

    def teardown(self) -> None:
        self.runner.run(audit(self.database))


@pytest.fixture
def machine(database_url: str) -> Iterator[type[Machine]]:
    with asyncio.Runner() as runner:
        Machine.runner, Machine.database = runner, hurried(database_url)
        yield Machine
        Machine.database.close()


def test_the_ledger_agrees_with_its_model(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
