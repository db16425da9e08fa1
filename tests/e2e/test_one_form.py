"""stderr that is read by a machine is wholly JSON, stderr that is not is wholly text."""

import json


def test_stderr_is_wholly_json_where_json_is_asked_for(shell, service):
    service()
    ran = shell.type("-v", "run", shell.put("a.wav"), shell.put("b.xyz"), INGEST_LOG_FORMAT="json")
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)
    named = {line["event"]: line for line in lines}
    assert named["batch"]["batch"] in ran.stdout
    assert named["progress"]["total"] == 2
    assert named["batch_finished"]["files"] == 2
    assert named["batch_finished"]["seconds"] > 0
    ended = {line["state"]: line for line in lines if line["event"] == "file_ended"}
    assert ended["succeeded"]["polls"] >= 1
    assert ended["succeeded"]["seconds"] > 0
    assert ended["rejected"]["code"] == "unsupported_format"


def test_stderr_is_wholly_text_elsewhere(shell, service):
    service()
    ran = shell.type("-v", "run", shell.put("a.wav"))
    assert ran.code == 0
    assert "file_ended" in ran.stderr
    assert not [line for line in ran.stderr.splitlines() if line.startswith("{")]


def test_a_usage_error_is_json_too(shell):
    ran = shell.type("status", "nothing", INGEST_LOG_FORMAT="json")
    (line,) = ran.stderr.splitlines()
    assert (ran.code, json.loads(line)["level"]) == (2, "error")
