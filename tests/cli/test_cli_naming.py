"""A batch and a file may be called by any name that only they have."""

import json
from uuid import uuid4

import pytest

from tests.cli.desk import BATCH, SOURCES, invoke
from worker.cli.naming import complete_batch
from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId, fleet


@pytest.mark.parametrize("name", [str(BATCH), str(BATCH)[:4], "nightly", "latest"])
@pytest.mark.parametrize("command", ["status", "results", "cancel", "retry"])
def test_every_command_takes_every_name_of_a_batch(filled, command, name):
    filled.cancel(BATCH)
    more = ["--only", "partial", "--timeout", "0"] if command == "retry" else []
    result = invoke(command, name, *more)
    assert "no batch" not in result.stderr
    if command != "retry":
        assert result.exit_code == 0


def test_an_ambiguous_name_lists_whom_it_may_mean(filled):
    other = BatchId(uuid4())
    filled.create_batch(NewBatch(other, "else", fleet("else"), external_key="nightly"))
    for command in (["status"], ["results"], ["cancel"], ["run", "--resume"], ["notify", "replay"]):
        result = invoke(*command, "nightly")
        assert (result.exit_code, result.stdout) == (2, "")
        assert str(BATCH) in result.stderr
        assert str(other) in result.stderr


def test_show_takes_the_beginning_of_an_id_or_a_batch_and_a_name(filled):
    wanted = next(r for r in filled.results(BATCH) if r.source == SOURCES[0])
    for name in ([str(wanted.file_id)[:8]], ["latest", "one.wav"], ["nightly", SOURCES[0]]):
        story = json.loads(invoke("show", *name, "--json").stdout)
        assert story["file_id"] == str(wanted.file_id)


def test_a_name_that_several_files_have_lists_them(filled):
    filled.add_files(BATCH, ["/elsewhere/one.wav"])
    result = invoke("show", "latest", "one.wav")
    assert result.exit_code == 2
    assert "/elsewhere/one.wav" in result.stderr


def test_a_name_that_no_file_of_the_batch_has_says_which_batch_was_meant(filled):
    result = invoke("show", "latest", "three.wav")
    assert result.exit_code == 2
    assert f"batch {BATCH} has no file 'three.wav'" in result.stderr


def test_a_shell_is_offered_ids_keys_and_latest(filled):
    assert [name for name, _ in complete_batch("")] == ["latest", str(BATCH), "nightly"]
    assert [name for name, _ in complete_batch("ni")] == ["nightly"]


def test_completion_is_silent_where_there_is_no_database(database, tmp_path, capfd):
    assert complete_batch("") == []
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "command", [["status", "latest"], ["results", "x"], ["show", "abcd"], ["cancel", "x"]]
)
def test_a_command_that_looks_makes_no_database(database, tmp_path, command):
    result = invoke(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no database yet" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_list_without_a_database_is_empty(database, tmp_path):
    assert json.loads(invoke("status", "--json").stdout)["batches"] == []
    assert invoke("status").exit_code == 0
    assert not list(tmp_path.iterdir())
