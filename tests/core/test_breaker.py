"""When a category's breaker opens and closes, and who may pass while it is open."""

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from worker.core.breaker import (
    CANARY_EVERY,
    Applicant,
    Breaker,
    admitted,
    breaker_id,
    heard,
    reason,
)
from worker.core.model.ids import FileId, LeaseToken

OPEN = Breaker("parse_failed", 3, is_open=True, canary_in=CANARY_EVERY)


def after(*codes, limit=3):
    """The breaker and the news after files that ended so, the oldest first."""
    known, told = None, []
    for code in codes:
        known, turn = heard(known, code, limit)
        told.append(turn)
    return known, told


def file(number):
    return Applicant(FileId(UUID(int=number)), LeaseToken(UUID(int=9)), "Audio")


def test_so_many_failures_in_a_row_open_it_once():
    known, told = after("a", "a", "a", "a")
    assert told == [None, None, "opened", None]
    assert (known.is_open, known.failures, known.canary_in) == (True, 4, CANARY_EVERY)


def test_a_success_or_another_code_between_them_begins_anew():
    for between in (None, "b"):
        known, told = after("a", "a", between, "a", "a")
        assert told == [None] * 5
        assert known == Breaker("a", 2)


def test_a_canary_that_goes_well_closes_it_and_one_that_fails_otherwise_does_not():
    assert after("a", "a", "a", None) == (None, [None, None, "opened", "closed"])
    known, told = after("a", "a", "a", "b")
    assert (known.is_open, known.code, told[-1]) == (True, "b", None)


def test_a_closed_breaker_admits_everybody():
    files = [file(1), file(2)]
    assert admitted(Breaker("a", 2), files) == ({each.file for each in files}, Breaker("a", 2))


def test_an_open_one_admits_nobody_before_its_time_and_then_one_who_stays_the_one():
    files = [file(1), file(2)]
    assert admitted(OPEN, files) == (set(), OPEN)
    passing, next_one = admitted(replace(OPEN, canary_in=0.0), files)
    assert passing == {files[0].file}
    assert (next_one.canary, next_one.canary_in) == (files[0].file, CANARY_EVERY)
    assert admitted(next_one, list(reversed(files))) == ({files[0].file}, next_one)
    assert admitted(next_one, [file(3)]) == (set(), next_one)


@given(st.lists(st.sampled_from([None, "a", "b"]), max_size=30), st.integers(1, 5))
def test_it_is_open_from_a_full_streak_until_a_success(codes, limit):
    known, told = after(*codes, limit=limit)
    turns = [turn for turn in told if turn]
    assert turns == ["opened", "closed"] * (len(turns) // 2) + ["opened"] * (len(turns) % 2)
    assert (known is not None and known.is_open) == (len(turns) % 2 == 1)
    if codes and codes[-1] is None:
        assert known is None


def test_ids_differ_and_words_say_what_ends_the_wait():
    ids = {breaker_id(p, c) for p in ("default", "other") for c in ("Audio", "Text")}
    assert len(ids) == 4
    assert "3 files" in reason("Audio", OPEN)
    assert "retry" in reason("Audio", OPEN)
