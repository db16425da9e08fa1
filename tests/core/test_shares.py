import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.shares import Share, burst, fair_share, still_fits, take


def test_a_lone_holder_has_all_and_two_halve_it():
    assert fair_share([], Share("a", 0), 8) == 8
    assert fair_share([Share("a", 4)], Share("b", 0), 8) == 4


def test_what_can_not_be_divided_goes_to_the_first_names():
    others = [Share("b", 2, 2), Share("c", 2, 2)]
    assert fair_share(others, Share("a", 0), 8) == 3
    assert fair_share([Share("a", 3), Share("b", 2)], Share("c", 0), 8) == 2


def test_a_newcomer_waits_for_uploads_in_flight():
    assert fair_share([Share("a", 8, 8)], Share("b", 0), 8) == 0
    assert fair_share([Share("b", 0)], Share("a", 8, busy=8), 8) == 8
    assert fair_share([Share("b", 0)], Share("a", 8, busy=5), 8) == 5
    assert fair_share([Share("b", 0)], Share("a", 8, busy=1), 8) == 4


@given(
    ceiling=st.integers(0, 20),
    calls=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 20)), max_size=30),
)
def test_all_shares_together_never_exceed_the_ceiling(ceiling, calls):
    held: dict[str, Share] = {}
    for holder, busy in calls:
        before = held.get(holder, Share(holder, 0))
        mine = Share(holder, before.share, min(busy, before.share))
        others = [share for name, share in held.items() if name != holder]
        held[holder] = Share(holder, fair_share(others, mine, ceiling), mine.busy)
        assert sum(share.share for share in held.values()) <= ceiling
    for _ in range(2):  # nothing is in flight any more: everybody gets the fair share
        for holder in sorted(held):
            others = [share for name, share in held.items() if name != holder]
            held[holder] = Share(holder, fair_share(others, Share(holder, 0), ceiling))
    shares = [share.share for share in held.values()]
    assert not shares or (sum(shares) == ceiling and max(shares) - min(shares) <= 1)


@pytest.mark.parametrize(
    ("busy", "share", "left", "fits"),
    [
        (0, 4, 15.0, True),
        (4, 4, 15.0, True),
        (4, 3, 15.0, False),  # it shrinks
        (4, 5, 15.0, False),  # it grows
        (5, 4, 15.0, False),  # more is in flight than others know
        (4, 4, 9.0, False),  # it would be forgotten soon
    ],
)
def test_a_share_is_said_again_when_others_could_be_wrong_about_it(busy, share, left, fits):
    assert still_fits(Share("a", 4, 4), busy, share, left, 15.0) is fits


def test_uploads_that_ended_after_a_share_shrank_are_said():
    known = Share("a", 4, 6)
    assert still_fits(known, 6, 4, 15.0, 15.0)
    assert not still_fits(known, 5, 4, 15.0, 15.0), "others wait for these places"


def test_a_bucket_gives_what_it_has_and_says_when_there_is_more():
    assert take(5.0, 0.0, 5.0, 3).granted == 3
    empty = take(0.5, 0.0, 5.0, 3)
    assert (empty.granted, empty.wait, empty.tokens) == (0, 0.1, 0.5)
    assert take(0.0, 1.0, 5.0, 9).granted == 5
    assert take(0.0, 100.0, 5.0, 9).granted == 5
    assert burst(0.1) == 1.0


@given(
    tokens=st.floats(0, 50),
    elapsed=st.floats(0, 100),
    rate=st.floats(0.01, 50),
    want=st.integers(0, 100),
)
def test_a_bucket_never_owes_and_its_wait_is_long_enough(tokens, elapsed, rate, want):
    taken = take(tokens, elapsed, rate, want)
    assert 0 <= taken.granted <= want
    assert -1e-9 <= taken.tokens <= burst(rate)
    if want and not taken.granted:
        assert taken.wait > 0
        later = take(taken.tokens, taken.wait * (1 + 1e-6) + 1e-6, rate, want)
        assert later.granted >= 1 or math.isclose(later.tokens, 1.0)
