"""Who may take another worker for dead, and which leases are whose."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as some

from worker.core.liveness import BEAT_EVERY, SILENT_AFTER, Steadiness, lease_token, tokens_of


@given(some.uuids(), some.uuids(), some.uuids())
def test_a_token_is_its_holders_and_no_others(holder: UUID, other: UUID, chance: UUID):
    first, last = tokens_of(holder)
    assert first <= lease_token(holder, chance) <= last
    if holder.bytes[:8] != other.bytes[:8]:
        assert not first <= lease_token(other, chance) <= last


@given(some.uuids())
def test_tokens_are_in_order_as_text_too(holder: UUID):
    first, last = tokens_of(holder)
    assert str(first) <= str(lease_token(holder, UUID(int=7))) <= str(last)


def beats(*gaps: float) -> bool:
    steadiness, now = Steadiness(), 100.0
    may = steadiness.beat(now)
    for gap in gaps:
        now += gap
        may = steadiness.beat(now)
    return may


def test_who_has_just_come_judges_nobody():
    assert not beats()
    assert not beats(BEAT_EVERY)


def test_who_has_been_there_all_the_time_may_judge():
    assert beats(*[BEAT_EVERY] * int(SILENT_AFTER / BEAT_EVERY))


def test_who_was_away_itself_waits_until_the_others_have_had_their_time():
    long = [BEAT_EVERY] * 50
    assert not beats(*long, SILENT_AFTER)
    assert not beats(*long, SILENT_AFTER, BEAT_EVERY)
    assert beats(*long, SILENT_AFTER, *long)
