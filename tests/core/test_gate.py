from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from worker.core.gate import OPEN, PAUSED, Freeze, Gate, judged, struck

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROBE = UUID(int=1)


def at(seconds):
    return NOW + timedelta(seconds=seconds)


def test_a_profile_that_was_never_frozen_is_open():
    assert judged(None, NOW) is OPEN
    assert judged(Freeze(), NOW) is OPEN
    assert not OPEN.closed
    assert not OPEN.probing


def test_a_freeze_closes_until_it_is_over_and_then_lets_one_probe():
    assert judged(Freeze(at(3)), NOW) == Gate("frozen", 3.0)
    assert judged(Freeze(at(3)), NOW).closed
    thawing = judged(Freeze(at(0)), NOW)
    assert (thawing.closed, thawing.probing) == (False, True)


def test_while_somebody_probes_all_others_wait():
    gate = judged(Freeze(at(-1), 1, at(20), PROBE), NOW)
    assert gate == Gate("thawing", 20.0, PROBE)
    assert (gate.closed, gate.probing) == (True, False)
    assert gate.admits(PROBE)
    assert not gate.admits(UUID(int=2))
    assert judged(Freeze(at(-60), 1, at(-1), PROBE), NOW).probing


def test_a_pause_closes_for_everybody():
    assert PAUSED.closed
    assert not PAUSED.admits(PROBE)
    assert OPEN.admits(PROBE)


def test_what_is_turned_away_together_is_one_strike():
    first = struck(Freeze(), NOW, at(10))
    assert first == Freeze(at(10), 1)
    assert struck(first, at(1), at(5)) == first
    assert struck(first, at(1), at(30)) == Freeze(at(30), 1)
    assert struck(first, at(11), at(30)) == Freeze(at(30), 2)


def test_a_new_freeze_takes_the_probe_away():
    assert struck(Freeze(at(-1), 1, at(20), PROBE), NOW, at(5)) == Freeze(at(5), 2)


SECONDS = st.integers(-100, 100)


@given(until=st.none() | SECONDS, strikes=st.integers(0, 9), more=st.integers(1, 100))
def test_a_freeze_never_gets_shorter_and_strikes_never_fewer(until, strikes, more):
    before = Freeze(None if until is None else at(until), strikes)
    after = struck(before, NOW, at(more))
    assert after.until >= max(at(more), before.until or NOW)
    assert strikes <= after.strikes <= strikes + 1
    assert judged(after, NOW).closed
