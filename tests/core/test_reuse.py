"""Whose result a file takes over, whose upload it waits for, and who goes ahead."""

import json
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.lifecycle import FileState, SettleAt
from worker.core.model.ids import FileId, LeaseToken
from worker.core.model.wire import UploadForm
from worker.core.reuse import (
    STRANGER_OVERDUE,
    GoAhead,
    TakeOver,
    Twin,
    WaitFor,
    Wanted,
    deal,
    reuse_key,
)
from worker.core.rules import Rules

RULES = Rules("default")
FORM = UploadForm("flow", "audio_text", "a.wav", "wav", "fast", "listen", '{"a": 1, "b": 2}')
DAY = 86400.0


def wanted(number, key="k"):
    return Wanted(FileId(UUID(int=number)), LeaseToken(UUID(int=99)), key, "Audio", 7, "0" * 64)


def twin(number, state, key="k", **more):
    return Twin(FileId(UUID(int=number)), key, state, **more)


def done(number, ended=60.0, **more):
    return twin(number, FileState.SUCCEEDED, ended=ended, **({"has_contents": True} | more))


def decision(*twins):
    mine = wanted(1)
    return deal([mine], twins, DAY)[mine.file]


def test_bytes_that_nobody_has_seen_are_uploaded():
    assert decision() == GoAhead()


def test_a_result_is_taken_over_and_of_several_the_newest():
    assert decision(done(2, 90.0), done(3, 60.0), done(4, 70.0)) == TakeOver(UUID(int=3))


@pytest.mark.parametrize(
    "twin",
    [
        done(2, DAY + 1),
        done(2, has_contents=False),
        twin(2, FileState.PARTIAL, ended=1.0, has_contents=True),
        twin(2, FileState.QUEUED),
        twin(1, FileState.SUBMITTING),
        done(2, key="another"),
    ],
    ids=["too old", "pruned", "partial", "queued", "the file itself", "other bytes"],
)
def test_what_is_no_result_and_not_in_flight_is_nobodys_concern(twin):
    assert decision(twin) == GoAhead()


@pytest.mark.parametrize("state", [FileState.SUBMITTING, FileState.POLLING])
def test_bytes_in_flight_are_waited_for(state):
    assert decision(twin(2, state)) == WaitFor(UUID(int=2))


def test_a_result_comes_before_what_is_in_flight():
    assert decision(twin(2, FileState.POLLING), done(3)) == TakeOver(UUID(int=3))


def test_nobody_waits_for_a_killed_runs_file_for_ever():
    strangers = twin(2, FileState.POLLING, ours=False, overdue=STRANGER_OVERDUE)
    assert decision(strangers) == GoAhead()
    assert decision(replace(strangers, overdue=STRANGER_OVERDUE - 1)) == WaitFor(UUID(int=2))
    assert decision(replace(strangers, ours=True)) == WaitFor(UUID(int=2))


def test_of_the_same_bytes_in_one_claim_the_first_goes_ahead():
    files = [wanted(1), wanted(2), wanted(3, "other"), wanted(4)]
    ahead = WaitFor(UUID(int=1))
    assert list(deal(files, [], DAY).values()) == [GoAhead(), ahead, GoAhead(), ahead]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from("ab")), max_size=8),
    st.lists(
        st.tuples(
            st.integers(1, 12),
            st.sampled_from("ab"),
            st.sampled_from(list(FileState)),
            st.booleans(),
            st.sampled_from([None, 1.0, DAY, 2 * DAY]),
        ),
        max_size=8,
    ),
)
def test_one_upload_a_key_at_most_and_nobody_waits_for_who_waits(asked, others):
    files = list({n: wanted(n, key) for n, key in asked}.values())
    twins = [
        twin(n, state, key, ours=ours, overdue=500.0, ended=ended, has_contents=True)
        for n, key, state, ours, ended in others
    ]
    decided = deal(files, twins, DAY)
    assert set(decided) == {each.file for each in files}
    ahead = [each.key for each in files if decided[each.file] == GoAhead()]
    assert len(ahead) == len(set(ahead))
    waiting = {file for file, each in decided.items() if isinstance(each, WaitFor)}
    assert not waiting & {each.twin for each in decided.values() if isinstance(each, WaitFor)}


# --- keys ----------------------------------------------------------------------------------------


def key(digest="d", category="Audio", form=FORM, rules=RULES):
    return reuse_key(digest, category, form, rules)


@pytest.mark.parametrize(
    "other",
    [
        key(digest="e"),
        key(category="Text"),
        key(form=replace(FORM, parse_model="slow")),
        key(form=replace(FORM, parse_prompt="read")),
        key(form=replace(FORM, file_format="mp3")),
        key(form=replace(FORM, inputs=None)),
        key(form=replace(FORM, flow_uuid="another")),
        key(form=replace(FORM, file_name="a.mp3")),
        key(rules=Rules("other")),
        key(rules=replace(RULES, settle_at=SettleAt.FLOW)),
    ],
)
def test_whatever_may_change_the_result_changes_the_key(other):
    assert other != key()


def test_a_name_and_the_spelling_of_inputs_do_not():
    assert key(form=replace(FORM, file_name="copy of a.WAV")) == key()
    spelled = json.dumps({"b": 2, "a": 1}, indent=2)
    assert key(form=replace(FORM, inputs=spelled)) == key()
    assert len(key()) == 64
