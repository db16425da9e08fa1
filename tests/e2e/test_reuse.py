"""The same bytes are uploaded once, where that is asked for."""

from tests.e2e.shells import ANYTHING

ON = {"INGEST_REUSE_RESULTS": "30d"}
LARGE = bytes(range(256)) * 1024  # too large to be read at the first look


def uploads(simulator):
    return sorted(each["file_name"] for each in simulator.ledger()["uploads"])


def test_the_same_bytes_are_uploaded_once(shell, service):
    simulator = service(categories=ANYTHING)
    shell.environment |= ON
    for name in ("a.wav", "b.wav"):
        shell.put(name, "one call")
    for name in ("c.pdf", "d.pdf"):
        shell.put(name, LARGE)
    ran = shell.type("run", str(shell.inbox), "--json")
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": 4}), ran.stderr
    assert len(uploads(simulator)) == 2
    lines = shell.results(ran.batch)
    for names in (("a.wav", "b.wav"), ("c.pdf", "d.pdf")):
        first, second = sorted(
            (lines[name] for name in names), key=lambda line: line["upload_attempts"]
        )
        assert (first["reused_from"], second["reused_from"]) == (second["file_id"], None)
        for same in ("parse_content", "sha256", "size", "category", "status"):
            assert first[same] == second[same]
    shown = shell.type("show", first["file_id"])
    assert "reused (succeeded)" in shown.stdout
    assert second["file_id"] in shown.stdout


def test_a_result_of_an_earlier_batch_is_reused_unless_it_is_forced(shell, service):
    simulator = service(categories=ANYTHING)
    path = shell.put("a.wav", LARGE)
    first = shell.type("run", path, "--json", **ON)
    copy = shell.put("copy.wav", LARGE)
    again = shell.type("run", copy, path, "--json", **ON)
    assert (again.code, again.json["counts"]) == (0, {"succeeded": 2}), again.stderr
    assert uploads(simulator) == ["a.wav"]
    origin = shell.results(first.batch)["a.wav"]["file_id"]
    assert {line["reused_from"] for line in shell.results(again.batch).values()} == {origin}
    other = shell.type("run", copy, "--inputs", '{"n": 1}', **ON)
    forced = shell.type("run", copy, "--force", **ON)
    off = shell.type("run", copy)
    assert uploads(simulator) == ["a.wav", "copy.wav", "copy.wav", "copy.wav"]
    for outcome in (other, forced, off):
        assert shell.results(outcome.batch)["copy.wav"]["reused_from"] is None
    audit = shell.type("audit", "--json")
    assert audit.code == 0, audit.stdout


def test_when_the_first_fails_the_next_with_its_bytes_goes_ahead(shell, service):
    broken = {"file_name": "a.wav", "path": [1, 6]}
    simulator = service(categories=ANYTHING, rules=[broken])
    paths = [shell.put(f"{name}.wav", "one call") for name in "abc"]
    ran = shell.type("run", *paths, "--json", **ON)
    assert (ran.code, ran.json["counts"]) == (1, {"failed": 1, "succeeded": 2}), ran.stderr
    assert len(uploads(simulator)) == 2
    assert uploads(simulator)[0] == "a.wav"
