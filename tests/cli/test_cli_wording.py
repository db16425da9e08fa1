"""What is said on the way: names made harmless, rates, durations, progress lines."""

import io
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from worker.cli.board import Board
from worker.cli.progress import LINE_EVERY, PlainLines, counts_text, done, progress
from worker.cli.rate import RateMeter, eta
from worker.cli.terminal import (
    can_be_drawn_on,
    complain,
    put_table,
    say,
    set_voice,
    shortened,
    shown,
    shown_block,
    table,
)
from worker.core.lifecycle import BatchState, FileState
from worker.core.model.batches import BatchStatus
from worker.core.model.ids import BatchId, Crew
from worker.core.seen import BatchDetails, Flight
from worker.core.words import duration_text, rate_text


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
    pace = RateMeter()
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


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_live_display_keeps_count_rate_and_time_left(width):
    board = Board()
    board.show(
        12_345, 100_000, ["123.4/s", "11 min 50 s to 18 min 20 s left"], ["polling 99, " * 20]
    )
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(board)
    first, below = console.file.getvalue().splitlines()
    for figure in ("12345/100000", "123.4/s", "18 min 20 s left"):
        assert figure in first
    assert max(len(first), len(below)) <= width
    assert below.endswith("…")


def test_stragglers_are_told_from_what_moves(capsys):
    clock = Clock()
    details = BatchDetails("run", flight=Flight(2, 30.0, 48.0), eta=(0.0, 48.0))
    report = PlainLines(clock, lambda _: details)
    status = a_status(polling=2, succeeded=8)
    report(status)
    for clock.now in (5.0, 11.0):
        report(a_status(polling=2, succeeded=7, failed=1) if clock.now > 10 else status)
    assert "2 files wait for their deadline, 48 s at most" in capsys.readouterr().err


def test_quiet_is_quiet(capsys):
    set_voice(quiet=True, verbosity=0)
    try:
        say("chatter")
        complain("error: this")
        with progress() as report:
            report(a_status(queued=10))
    finally:
        set_voice(quiet=False, verbosity=0)
    assert capsys.readouterr() == ("", "error: this\n")


@pytest.mark.parametrize(("term", "drawn"), [("xterm", True), ("dumb", False), ("", False)])
def test_only_a_terminal_that_can_be_drawn_on_is(monkeypatch, term, drawn):
    monkeypatch.setenv("TERM", term)
    stream = io.StringIO()
    assert not can_be_drawn_on(stream)
    monkeypatch.setattr(stream, "isatty", lambda: True)
    assert can_be_drawn_on(stream) is drawn


def test_a_piped_table_has_a_tab_between_its_cells_and_no_padding(capsys):
    put_table(table("batch", "state", rows=[("a b", "tab\there"), ("c", None)]))
    assert capsys.readouterr().out == "batch\tstate\na b\ttab\\there\nc\n"
