"""The time left is a range that knows the pace, the past and the deadlines."""

from hypothesis import given
from hypothesis import strategies as st

from worker.core.outlook import time_left, usual_times
from worker.core.ready_times import Sketch
from worker.core.seen import Flight


def told(seconds, count=100):
    sketch = Sketch()
    for _ in range(count):
        sketch = sketch.add(seconds, seconds)
    return sketch


def test_nothing_left_takes_no_time():
    assert time_left(waiting=0, done=9, elapsed=5, flight=None, usual=None) == (0.0, 0.0)


def test_without_anything_done_nothing_is_promised():
    assert time_left(waiting=5, done=0, elapsed=5, flight=None, usual=(1, 2)) is None
    assert time_left(waiting=0, done=0, elapsed=5, flight=Flight(3, 1, 60), usual=None) is None


def test_what_waits_goes_at_the_pace_so_far():
    low, high = time_left(waiting=100, done=100, elapsed=50, flight=None, usual=(2.0, 4.0))
    assert low < 52 < high


def test_stragglers_wait_for_their_deadline_at_most():
    flight = Flight(2, newest=30.0, deadline=48.0)
    assert time_left(waiting=0, done=98, elapsed=60, flight=flight, usual=(2.0, 4.0)) == (0.0, 48.0)


def test_a_fresh_file_takes_what_its_kind_takes():
    flight = Flight(2, newest=1.0, deadline=3600.0)
    assert time_left(waiting=0, done=98, elapsed=60, flight=flight, usual=(2.0, 4.0)) == (1.0, 3.0)


def test_the_usual_times_need_a_history():
    assert usual_times([]) is None
    assert usual_times([told(5.0, 10)]) is None
    median, late = usual_times([told(5.0), told(20.0, 20)])
    assert 4 < median < 6
    assert 15 < late < 23


@given(st.floats(0.1, 5000), st.floats(0, 1))
def test_a_quantile_of_equal_times_is_about_that_time(seconds, part):
    found = told(seconds).quantile(part)
    assert seconds / 1.2 <= found <= seconds * 1.2


@given(
    waiting=st.integers(0, 1000),
    done=st.integers(0, 1000),
    elapsed=st.floats(0, 1e5),
    flight=st.none() | st.builds(Flight, st.integers(1, 99), st.floats(0, 1e4), st.floats(0, 1e4)),
    usual=st.none() | st.tuples(st.floats(0, 100), st.floats(100, 1000)),
)
def test_a_range_begins_before_it_ends(waiting, done, elapsed, flight, usual):
    found = time_left(waiting=waiting, done=done, elapsed=elapsed, flight=flight, usual=usual)
    assert found is None or 0 <= found[0] <= found[1]
