from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.retry_after import LONGEST_WAIT, seconds_to_wait

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("86400", LONGEST_WAIT),
        ("1e300", LONGEST_WAIT),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (formatdate(NOW + 90_000, usegmt=True), LONGEST_WAIT),
        ("Fri, 15 Jan 2027 08:01:00", 60.0),
        ("Fri, 99 Foo 2027", None),
    ],
)
def test_both_forms_are_read_and_clamped(header, wait):
    assert seconds_to_wait(header, NOW) == wait


@given(st.text())
def test_garbage_never_raises_and_never_leaves_the_bounds(header):
    wait = seconds_to_wait(header, NOW)
    assert wait is None or 0 <= wait <= LONGEST_WAIT
