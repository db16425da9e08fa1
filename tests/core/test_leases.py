import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.leases import ALONE_AFTER, POISON, POISON_AFTER, deaths, is_poison, safe_together


def test_a_lease_that_is_still_there_is_a_death():
    assert deaths(0, leased=False) == 0
    assert deaths(1, leased=True) == 2


def test_a_file_is_poison_after_so_many_deaths_and_the_reason_says_how_many():
    assert [number for number in range(8) if is_poison(number)] == [4, 5, 6, 7]
    assert str(POISON_AFTER) in POISON.message


@pytest.mark.parametrize(
    ("numbers", "taken"),
    [([], []), ([0, 1, 0], [0, 1, 0]), ([0, 2, 1], [0, 1]), ([2, 0], [2]), ([3, 2], [3])],
)
def test_a_suspect_goes_alone_and_only_when_it_is_first(numbers, taken):
    assert list(safe_together(numbers, lambda number: number)) == taken


@given(st.lists(st.integers(0, POISON_AFTER - 1)))
def test_no_suspect_shares_a_hand_and_something_is_always_taken(numbers):
    taken = list(safe_together(numbers, lambda number: number))
    assert bool(taken) == bool(numbers)
    assert len(taken) <= 1 or max(taken) < ALONE_AFTER
