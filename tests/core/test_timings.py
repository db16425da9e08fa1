"""Timings fit each other, whoever sets them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.timings import LONGEST, Timings


def test_the_usual_ones_are_valid():
    assert Timings() == Timings(lease=60.0)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"lease": 45.0}, "renew_every"),
        ({"renew_every": 20.0}, "renew_every"),
        ({"renew_every": 0.0}, "renew_every"),
        ({"share_ttl": -1.0}, "share_ttl"),
        ({"settle_delay": LONGEST + 1}, "settle_delay"),
        ({"lease": float("nan")}, "lease"),
    ],
)
def test_what_does_not_fit_is_named(wrong, word):
    with pytest.raises(ValueError, match=word):
        Timings(**wrong)


@given(lease=st.floats(0, LONGEST), renew_every=st.floats(0, LONGEST))
def test_a_lease_outlives_three_renewals_or_is_refused(lease, renew_every):
    try:
        timings = Timings(lease=lease, renew_every=renew_every)
    except ValueError:
        assert not 0 < 3 * renew_every < lease
    else:
        assert timings.lease > 3 * timings.renew_every > 0
