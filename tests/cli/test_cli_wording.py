"""What is said on the way: names made harmless, rates, durations, progress lines."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.pace import Pace, duration_text, eta, rate_text
from worker.cli.progress import LINE_EVERY, PlainLines, counts_text, done
from worker.cli.terminal import shortened, shown, shown_block
from worker.core.lifecycle import BatchState, FileState
from worker.core.model import BatchId, BatchStatus, Crew


def a_status(total=10, **counts):
    return BatchStatus(
        batch_id=BatchId(UUID(int=1)),
        external_key=None,
        profile="default",
        crew=Crew("default"),
        state=BatchState.RUNNING,
        total=total,
        counts={FileState(name): count for name, count in counts.items()},
        started_at=datetime(2026, 11, 22, tzinfo=UTC),
        finished_at=None,
    )


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("合同 one.pdf", "合同 one.pdf"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nerror: forged", r"a\nerror: forged"),
        ("evil\u202egpj.exe", r"evil\u202egpj.exe"),
        ("not\udcffutf8", r"not\udcffutf8"),
    ],
)
def test_names_are_shown_harmless(name, harmless):
    assert shown(name) == harmless


@given(st.text())
def test_whatever_is_shown_is_one_printable_line(text):
    assert shown(text).isprintable()
    shown(text).encode()


def test_contents_keep_their_lines_and_nothing_else():
    assert shown_block("one\n\x1b[31mtwo") == "one\n\\x1b[31mtwo"


def test_a_long_text_is_cut_with_an_ellipsis():
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abcd", 4) == "abcd"


def test_the_rate_follows_the_last_half_minute():
    pace = Pace()
    assert pace.rate == 0.0
    for second in range(100):
        pace.note(second, second * 2)
    for second in range(100, 140):
        pace.note(second, 198 + (second - 99) * 10)
    assert pace.rate == 10.0
    assert pace.eta(50) == 5.0


def test_nothing_moves_nothing_is_promised():
    assert eta(0.0, 5) is None
    assert eta(0.0, 0) == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (61, "1 min 01 s"),
        (3_661, "1 h 01 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration_text(seconds) == text


def test_slow_rates_are_told_by_the_minute():
    assert rate_text(2.5) == "2.5/s"
    assert rate_text(0.05) == "3.0/min"


def test_counts_name_what_occurs_in_the_order_of_a_files_life():
    status = a_status(failed=1, queued=4, succeeded=5, polling=0)
    assert counts_text(status) == "queued 4, succeeded 5, failed 1"
    assert done(status) == 6


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_plain_lines_come_on_change_after_a_while_and_at_the_end(capsys):
    clock = Clock()
    report = PlainLines(clock)
    report(a_status(queued=10))
    report(a_status(queued=9, succeeded=1))  # too soon
    clock.now = LINE_EVERY
    report(a_status(queued=9, succeeded=1))
    clock.now = 2 * LINE_EVERY
    report(a_status(queued=9, succeeded=1))  # no change
    report(a_status(succeeded=10))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(" (")[0] for line in err.splitlines()] == [
        "0 of 10 done: queued 10",
        "1 of 10 done: queued 9, succeeded 1",
        "10 of 10 done: succeeded 10",
    ]
