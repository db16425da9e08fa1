"""`plan` and the arguments that name files."""

import io
import os
import sys
from pathlib import Path

import pytest

from tests.cli.desk import Terminal, plain
from worker.adapters.files.local_files import path_of
from worker.cli.options import STDIN, database_file, inputs_object, selection
from worker.cli.planning import _put_plan, foresee
from worker.core.model.files import Examined
from worker.core.model.wire import Category
from worker.errors import SourceRejected, UsageError
from worker.settings import Settings

AUDIO = Category(1, "Audio", ("wav",), 2, "")
PAPER = Category(2, "Paper", ("pdf", "txt"), 5, "")


class Folder:
    """Sources that know names only."""

    def __init__(self, *missing):
        self._missing = missing

    def examine(self, source):
        if source in self._missing:
            raise SourceRejected(f"{source} is not there", code="not_found")
        return Examined(source.rpartition("/")[2], 3)

    def open(self, source):
        raise NotImplementedError


def test_each_file_has_one_fate_in_the_order_named():
    paths = ["/d/1.wav", "/d/2.pdf", "/d/gone.wav", "/d/3.wav", "/d/4.xyz", "/d/5.wav", "/d/1.wav"]
    fates = foresee(paths, Folder("/d/gone.wav"), [AUDIO, PAPER])
    assert [fate.source for fate in fates] == paths[:-1]
    assert [fate.category for fate in fates] == ["Audio", "Paper", None, "Audio", None, "Audio"]
    assert [fate.dialog for fate in fates] == [1, 1, None, 1, None, 2]
    assert [fate.error_code for fate in fates] == [
        None, None, "not_found", None, "unsupported_format", None,
    ]  # fmt: skip


def test_a_wanted_category_that_is_not_offered_rejects_all():
    fates = foresee(["/d/1.wav"], Folder(), [AUDIO, PAPER], wanted="Video")
    assert fates[0].error_code == "no_such_category"
    assert '"Audio"' in fates[0].error_message


def test_inputs_are_a_json_object():
    assert inputs_object(None) is None
    assert inputs_object('{ "a" : "ü" }') == '{"a":"ü"}'
    for wrong in ("[]", "1", "", "{", '{"a": Infinity}'):
        with pytest.raises(UsageError, match="--inputs"):
            inputs_object(wrong)


def test_something_must_be_named():
    for nothing in (None, [], [""]):
        with pytest.raises(UsageError):
            selection(nothing, None, recursive=False)


def test_a_list_on_stdin_holds_names_as_the_system_has_them(tmp_path, monkeypatch):
    names = ["a b.wav", "合同.pdf", os.fsdecode(b"\xff.txt")]
    lines = b"".join(
        os.fsencode(str(tmp_path / name)) + end
        for name, end in zip(names, (b"\n", b"\r\n", b""), strict=True)
    )
    stdin = io.TextIOWrapper(io.BytesIO(lines))
    monkeypatch.setattr(sys, "stdin", stdin)
    chosen = selection(["/first.wav", STDIN], None, recursive=False)
    found = list(chosen.sources(Settings()))
    assert [path_of(source).name for source in found] == ["first.wav", *names]


def test_the_own_database_counts_only_when_it_is_named(tmp_path):
    database = tmp_path / "own.db"
    for path in (database, tmp_path / "own.db-wal", tmp_path / "call.wav"):
        path.write_bytes(b"x")

    def names(*paths):
        settings = Settings(INGEST_DATABASE_URL=f"sqlite:///{database}")
        found = selection(map(str, paths), None, recursive=False).sources(settings)
        return [path_of(source).name for source in found]

    assert names(tmp_path) == ["call.wav"]
    assert names(tmp_path, database) == ["call.wav", "own.db"]


def test_only_sqlite_is_a_file():
    assert database_file("postgresql+psycopg://host/db") is None
    assert database_file("sqlite:///own.db") == str(Path.cwd() / "own.db")


@pytest.fixture
def fates():
    return foresee(["/d/1.wav", "/d/4.xyz"], Folder(), [AUDIO, PAPER])


def test_a_plan_that_is_piped_on_tells_each_file_in_one_line(fates, capsys):
    _put_plan(fates, [AUDIO, PAPER])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "file\tbytes\tcategory\tdialog\trejected"
    assert lines[2].startswith("/d/4.xyz\t3\t\t\tunsupported_format: ")
    assert lines[-1] == "2 files, 1 rejected, 1 dialog"


def test_a_plan_at_a_terminal_tells_below_its_table_why_files_are_rejected(fates, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout", Terminal())
    _put_plan(fates, [AUDIO, PAPER])
    table, _, rest = plain(sys.stdout.getvalue()).partition("unsupported_format: ")
    assert "rejected" not in table
    assert "takes wav, pdf, txt" in " ".join(rest.split())
    assert max(map(len, (table + rest).splitlines())) <= 60
