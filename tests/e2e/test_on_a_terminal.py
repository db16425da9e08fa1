"""What is drawn at a terminal of 60, 80 and 120 columns, and where nothing can be drawn."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.cells import cell_len

from tests.e2e.terminals import COLOURED, Drawn, typed

WIDTHS = (60, 80, 120)
LOOKS = (
    (60, ("status",)),
    (60, ("status", "latest")),
    (60, ("results", "latest")),
    (60, ("show", "latest", "bad.wav")),
    (60, ("plan", "in")),
    (60, ("doctor",)),
    (60, ("config",)),
    (120, ("results", "latest")),
)


@pytest.fixture
def busy(shell):
    """A folder with files that end well, badly and not at all in the service's hands."""
    shell.serve(
        time_to_ready={"kind": "fixed", "seconds": 0.8},
        rules=[{"file_name": "bad.wav", "path": [1, 4, 6], "error_msg": "no audio track " * 9}],
    )
    shell.put("a rather long name of a file, as people give them.pdf")
    shell.put("合同.txt")
    shell.put("bad.wav")
    shell.put("plan.xyz")
    return shell


def too_wide(drawn: Drawn, columns: int) -> list[str]:
    """Lines that a terminal has to break; a command or a long path stays whole, to be copied."""
    return [
        line
        for line in drawn.lines
        if cell_len(line) > columns and "chatflow-ingest" not in line and " " in line.strip()
    ]


def at_once(shell, *commands):
    """Each command (columns, words, environment) at a terminal of its own."""
    with ThreadPoolExecutor(5) as pool:
        return list(pool.map(lambda each: typed(shell, each[0], *each[1], **each[2]), commands))


def own_database(shell, name):
    shutil.copy(shell.folder / "ingest.db", shell.folder / f"{name}.db")
    return {"INGEST_DATABASE_URL": f"sqlite:///{name}.db"}


def test_a_run_at_a_terminal_keeps_bar_count_and_time_left(busy):
    runs = [(columns, ("run", "in"), own_database(busy, columns)) for columns in WIDTHS]
    for columns, drawn in zip(WIDTHS, at_once(busy, *runs), strict=True):
        assert drawn.code == 1, drawn.text
        assert any(re.fullmatch(r"batch [0-9a-f-]{36}", line) for line in drawn.lines)
        bars = [line for line in drawn.lines if "━" in line]
        assert len(bars) > 2
        assert all(re.search(r"━\s+\d/[0-4]", line) for line in bars)
        assert bars[-1].endswith("4/4")
        assert any("left" in line for line in bars)
        assert too_wide(drawn, columns) == []


def test_a_look_fits_its_terminal(busy):
    typed(busy, 80, "run", "in")
    looks = [(*look, {}) for look in LOOKS]
    for (columns, words, _), drawn in zip(looks, at_once(busy, *looks), strict=True):
        assert drawn.code in {0, 1}, drawn.text
        assert "Traceback" not in drawn.text
        assert too_wide(drawn, columns) == [], words


def test_a_terminal_gets_no_more_than_it_can_draw_or_its_user_wants(busy):
    coloured, plain, dumb, quiet = at_once(
        busy,
        (80, ("run", "in"), own_database(busy, 1)),
        (80, ("-v", "run", "in"), own_database(busy, 2) | {"NO_COLOR": "1"}),
        (80, ("run", "in"), own_database(busy, 3) | {"TERM": "dumb"}),
        (80, ("--quiet", "run", "in"), own_database(busy, 4)),
    )
    assert COLOURED.search(coloured.raw)
    assert not COLOURED.search(plain.raw)
    assert "file_ended" in plain.text
    assert "\x1b" not in dumb.raw
    assert "4 of 4 done: succeeded 2, failed 1, rejected 1" in dumb.lines
    ended = "finished: succeeded 2, failed 1, rejected 1"
    assert [re.sub("^[0-9a-f-]{36} ", "", line) for line in quiet.lines] == [ended]
