"""A batch in figures: over time, by category, the slowest files."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from worker.core.figures import MOMENTS, SLOWEST, Figures, bands
from worker.core.lifecycle import FileState
from worker.core.model.ids import FileId
from worker.core.seen import FileLine

START = datetime(2026, 11, 24, tzinfo=UTC)


def line(state="succeeded", sent=None, ended=None, category="Audio", size=10):
    def at(seconds):
        return None if seconds is None else START + timedelta(seconds=seconds)

    return FileLine(
        FileId(uuid4()), "a.wav", "/a.wav", category, size, FileState(state), None, None, 1, 1,
        at(sent), at(ended),
    )  # fmt: skip


def figures(*lines, until=100.0):
    found = Figures(START.timestamp(), START.timestamp() + until)
    for each in lines:
        found.add(each)
    return found


def test_files_are_counted_where_they_stood():
    found = figures(
        line(sent=10, ended=50), line("failed", sent=20, ended=60), line("rejected", ended=5),
        line("polling", sent=30), line("queued"),
    ).over_time()  # fmt: skip
    middle, last = found[MOMENTS * 45 // 100], found[-1]
    assert (middle.waiting, middle.at_service, middle.succeeded, middle.other) == (1, 3, 0, 1)
    assert (last.waiting, last.at_service, last.succeeded, last.other) == (1, 1, 1, 2)


def test_times_are_told_by_category_the_largest_first():
    slow = [line(sent=0, ended=10 + n, category="Audio") for n in range(20)]
    quick = [line(sent=0, ended=1, category=None)]
    audio, none = figures(*slow, *quick).times()
    assert (audio.category, audio.count, audio.p50, audio.p95) == ("Audio", 20, 20.0, 29.0)
    assert (none.category, sum(none.bars), sum(audio.bars)) == ("no category", 1, 20)


def test_the_slowest_are_named():
    found = figures(*(line(sent=0, ended=n) for n in range(1, 60))).slowest()
    assert [seconds for seconds, _ in found] == [float(n) for n in range(59, 59 - SLOWEST, -1)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["succeeded", "failed", "polling", "queued"]),
            st.none() | st.floats(0, 90),
            st.floats(0, 20),
        )
    )
)
def test_the_bands_always_hold_every_file(files):
    found = figures(
        *(
            line(state, sent, None if state in {"polling", "queued"} else (sent or 0) + more)
            for state, sent, more in files
        )
    )
    for moment in found.over_time():
        assert min(moment.waiting, moment.at_service, moment.succeeded, moment.other) >= 0
    last = found.over_time()[-1]
    assert last.waiting + last.at_service + last.succeeded + last.other == len(files)
    assert len(bands(found.over_time(), found.files, 100, 50)) == 4


def test_an_empty_batch_has_figures():
    found = figures(until=0.0)
    assert (found.times(), found.slowest(), found.size) == ([], [], 0)
    assert found.over_time()[-1].waiting == 0
