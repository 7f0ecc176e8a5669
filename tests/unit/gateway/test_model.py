"""Step and progress, as they follow from the records of the steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import _SHARES, WORK_STEPS, Job, JobStatus, Step, StepRecord, StepState
from gateway.options import JobOptions, TransparentBackground

OPTIONS = JobOptions(
    session_id=UUID(int=1), object_index=0, background=TransparentBackground(), camera_preset="turntable"
)
JOB = Job("job", "local", OPTIONS, datetime(2026, 1, 1, tzinfo=UTC), status=JobStatus.RUNNING)

records = st.tuples(
    *(
        st.one_of(
            st.just(StepRecord(step)),
            st.builds(StepRecord, st.just(step), st.just(StepState.RUNNING), st.floats(0, 1)),
            st.just(StepRecord(step, StepState.DONE, 1.0)),
        )
        for step in WORK_STEPS
    )
)


def advanced(record: StepRecord, fraction: float) -> StepRecord:
    """The record some time later."""
    if fraction >= 1.0:
        return replace(record, state=StepState.DONE, fraction=1.0)
    if record.state is StepState.DONE:
        return record
    return replace(record, state=StepState.RUNNING, fraction=max(record.fraction, fraction))


@given(records)
def test_the_step_is_the_first_that_has_not_ended_well(steps: tuple[StepRecord, ...]) -> None:
    job = replace(JOB, steps=steps)
    before = WORK_STEPS[: WORK_STEPS.index(job.step)]
    assert all(job.record(step).state is StepState.DONE for step in before)
    assert job.step is not Step.DONE
    if any(record.state is not StepState.DONE for record in steps):
        assert job.record(job.step).state is not StepState.DONE


@given(records, st.tuples(*[st.floats(0, 1.2)] * len(WORK_STEPS)))
def test_step_and_progress_never_go_back(steps: tuple[StepRecord, ...], fractions: tuple[float, ...]) -> None:
    order = list(Step)
    now = replace(JOB, steps=steps)
    later = replace(JOB, steps=tuple(map(advanced, steps, fractions)))
    assert order.index(later.step) >= order.index(now.step)
    assert 0.0 <= now.progress <= later.progress <= 1.0
    ended = replace(later, status=JobStatus.SUCCEEDED)
    assert ended.progress == 1.0, "so that the end is never less than what came before"
    for status in (JobStatus.FAILED, JobStatus.CANCELLED):
        assert replace(later, status=status).progress == later.progress


def test_the_shares_make_a_whole() -> None:
    assert set(_SHARES) == set(WORK_STEPS)
    assert sum(_SHARES.values()) == pytest.approx(1.0)


def test_only_success_reaches_done() -> None:
    steps = tuple(StepRecord(step, StepState.DONE, 1.0) for step in WORK_STEPS)
    assert replace(JOB, steps=steps).step is Step.RENDERING_VIDEO
    assert replace(JOB, steps=steps, status=JobStatus.SUCCEEDED).step is Step.DONE
