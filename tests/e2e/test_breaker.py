"""A category whose files fail one after another holds the rest, and says so."""

import sqlite3
from contextlib import closing

from tests.e2e.shells import ANYTHING

TEXT = {**ANYTHING[0], "id": 2, "name": "Text", "support_formats": "txt"}
AUDIO = {**ANYTHING[0], "support_formats": "wav", "upload_max_num": 1}
BROKEN = {"file_name": "bad-*.wav", "path": [1, 6]}


def execute(shell, statement):
    with closing(sqlite3.connect(shell.folder / "ingest.db")) as connection, connection:
        return connection.execute(statement).fetchall()


def test_a_category_that_fails_again_and_again_is_held_and_goes_on_after_a_retry(shell, service):
    service(categories=[AUDIO, TEXT], rules=[BROKEN])
    shell.environment |= {"INGEST_BREAK_AFTER": "2", "INGEST_MAX_CONCURRENT_UPLOADS": "1"}
    bad = shell.put_many("bad-{}.wav", 2)
    first = shell.type("run", *bad, "--json")
    assert first.json["counts"] == {"failed": 2}, first.stderr
    assert len(execute(shell, "SELECT 1 FROM breakers WHERE opened_at IS NOT NULL")) == 1
    good = [*shell.put_many("good-{}.wav", 3), shell.put("note.txt")]
    second = shell.type("run", *good, "--timeout", "4", "--json")
    while "polling" in second.json["counts"]:  # the one of another category was not done yet
        second = shell.type("run", "--resume", second.batch, "--timeout", "4", "--json")
    assert second.code == 1
    assert second.json["counts"] == {"queued": 3, "succeeded": 1}, second.stderr
    (found,) = second.json["breakers"]
    assert (found["category"], found["code"], found["failures"]) == (
        "Anything", "parse_failed", 2,
    )  # fmt: skip
    status = shell.type("status", second.batch)
    assert "a breaker that is open" in status.stdout
    execute(shell, "UPDATE breakers SET canary_at = '2000-01-01 00:00:00.000000'")
    resumed = shell.type("run", "--resume", second.batch, "--json")
    assert (resumed.code, resumed.json["counts"]) == (0, {"succeeded": 4}), resumed.stderr
    assert execute(shell, "SELECT 1 FROM breakers") == []
    assert shell.type("audit").code == 0


def test_a_retry_lets_everybody_go(shell, service):
    simulator = service(categories=[AUDIO], rules=[{**BROKEN, "uploads": [1]}])
    shell.environment |= {"INGEST_BREAK_AFTER": "2", "INGEST_MAX_CONCURRENT_UPLOADS": "1"}
    first = shell.type("run", *shell.put_many("bad-{}.wav", 2), "--json")
    assert first.json["counts"] == {"failed": 2}, first.stderr
    again = shell.type("retry", first.batch, "--json")
    assert (again.code, again.json["counts"]) == (0, {"succeeded": 2}), again.stderr
    assert len(simulator.ledger()["uploads"]) == 4
