import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.pacing import (
    DIALOG_ATTEMPTS,
    call_backoff,
    dialog_backoff,
    freeze_for,
    poll_wait,
    upload_backoff,
)
from worker.core.retry_after import LONGEST_WAIT

COUNTS = st.integers(0, 100_000)


@given(COUNTS)
def test_backoffs_stay_within_their_caps_for_any_count(count: int) -> None:
    assert 0 <= call_backoff(count) <= 30
    assert 0.5 <= upload_backoff(count) <= 60
    assert 0.25 <= dialog_backoff(count) <= 8
    assert 1 <= freeze_for(count, None) <= 60


@given(st.integers(1, 5))
def test_the_first_waits_are_short_and_grow(count: int) -> None:
    assert call_backoff(count) <= 2 ** (count - 1)
    assert 2 ** (count - 2) <= upload_backoff(count) <= 2 ** (count - 1)
    assert 2 ** (count - 1) <= freeze_for(count - 1, None) <= 2**count


def test_callers_that_failed_together_come_back_apart() -> None:
    for wait in (call_backoff, upload_backoff, dialog_backoff):
        assert len({wait(8) for _ in range(20)}) > 10
    assert len({freeze_for(0, 30.0) for _ in range(20)}) > 10


def test_a_dialogs_attempts_fit_into_seconds() -> None:
    assert DIALOG_ATTEMPTS == 5
    assert sum(dialog_backoff(failures) for failures in range(1, DIALOG_ATTEMPTS)) < 10


@given(COUNTS, st.floats(0.001, LONGEST_WAIT))
def test_retry_after_is_never_undercut_and_hardly_exceeded(strikes: int, asked: float) -> None:
    wait = freeze_for(strikes, asked)
    assert asked <= wait <= asked + min(asked / 10, 10)


@pytest.mark.parametrize("asked", [1e9, math.inf])
def test_an_absurd_retry_after_is_shortened(asked: float) -> None:
    assert LONGEST_WAIT <= freeze_for(0, asked) <= LONGEST_WAIT + 10


@pytest.mark.parametrize("asked", [0.0, -5.0, math.nan])
def test_a_retry_after_that_says_nothing_still_grows(asked: float) -> None:
    assert 1 <= freeze_for(0, asked) <= 2
    assert 16 <= freeze_for(4, asked) <= 32


def test_poll_schedule_starts_at_a_second_and_grows_by_half() -> None:
    assert [poll_wait(polls, 0.0) for polls in range(6)] == [1.0, 1.5, 2.25, 3.375, 5.0, 5.0]


@pytest.mark.parametrize(
    ("age", "cap"), [(0, 5), (50, 5), (100, 10), (300, 30), (600, 60), (1e6, 60), (math.inf, 60)]
)
def test_poll_schedules_cap_grows_with_the_files_age(age: float, cap: float) -> None:
    assert poll_wait(100_000, age) == cap


@given(COUNTS, st.floats(0, 1e7))
def test_poll_wait_is_the_fallback_formula(polls: int, age: float) -> None:
    most = min(1.5 ** min(polls, 50), max(5.0, age / 10), 60.0)
    assert 1.0 <= poll_wait(polls, age) <= most * 1.000001
    on_schedule = (1.5 ** min(polls, 30) - 1) / 0.5
    if age >= on_schedule:
        assert poll_wait(polls, age) == pytest.approx(most)


def test_polls_of_an_earlier_upload_slow_no_later_one_down() -> None:
    ages = [0.0]
    for polls in range(20, 25):
        ages.append(ages[-1] + poll_wait(polls, ages[-1] or 1e-6))
    assert ages == pytest.approx([0.0, 1.0, 2.5, 4.75, 8.125, 13.125])
