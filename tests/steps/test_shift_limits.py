"""What a shift takes in hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.core.rules import Rules
from worker.steps.shift_limits import LEAST_IN_HAND, SECONDS_IN_HAND, poll_limits, submit_limits

RATES = st.none() | st.floats(0.01, 10_000)


@given(RATES, RATES, st.integers(1, 500))
def test_a_claim_fits_into_the_room_and_can_always_be_made(rate, poll_rate, ceiling):
    rules = Rules(
        "default", rate_limit=rate, poll_rate_limit=poll_rate, max_concurrent_uploads=ceiling
    )
    for pace in (submit_limits(rules, 1.0), poll_limits(rules, 1.0)):
        assert 1 <= pace.least <= pace.claim <= pace.room


@given(st.floats(0.01, 10_000))
def test_a_limited_rate_is_through_with_what_is_in_hand_within_seconds(rate):
    room = poll_limits(Rules("default", poll_rate_limit=rate), 1.0).room
    assert room <= max(LEAST_IN_HAND, rate * SECONDS_IN_HAND)
