"""One run over many files: each name leads to another row of the table of states."""

import json
import os
import socket

import pytest

from tests.e2e.shells import ANYTHING


def rule(pattern, path, **more):
    return {"file_name": pattern, "path": path} | more


def path(*steps):
    """Steps of (status, moment), the moment in times to ready."""
    return [{"status": status, "at": at} for status, at in steps]


AT_PARSE = [
    rule("six.wav", [1, 4, 6], error_msg="no audio track"),
    rule("eight-empty.wav", [1, 4, 8], parse_content={"shape": "empty_list"}),
    rule("eight-null.wav", [1, 4, 8], parse_content={"shape": "null"}),
    rule("eight-full.wav", [1, 4, 8]),
    rule("seven.wav", [1, 4, 7], llm_content={"shape": "text", "text": "a summary"}),
    rule("three-once.wav", [1, 3], uploads=[1]),
    rule("three-always.wav", [1, 3]),
    rule("stuck.wav", [1, 4, 4], time_to_ready={"kind": "fixed", "seconds": 1}),
    rule("odd.wav", path((1, 0), (42, 0.2), (5, 1))),
    rule("odd-for-ever.wav", [1, 99]),
    rule("at-once.wav", [5]),
]
STATES_AT_PARSE = {
    "plain.wav": ("succeeded", 5, None),
    "at-once.wav": ("succeeded", 5, None),
    "seven.wav": ("succeeded", 7, None),
    "six.wav": ("failed", 6, "parse_failed"),
    "eight-empty.wav": ("failed", 8, "flow_failed"),
    "eight-null.wav": ("failed", 8, "flow_failed"),
    "eight-full.wav": ("partial", 8, "flow_failed"),
    "three-once.wav": ("succeeded", 5, None),
    "three-always.wav": ("failed", 3, "upload_failed"),
    "stuck.wav": ("timed_out", 4, "deadline"),
    "odd.wav": ("succeeded", 5, None),
    "odd-for-ever.wav": ("timed_out", 99, "deadline"),
}


def told(line):
    return line["state"], line["status"], line["error_code"]


def test_every_status_leads_to_its_state_when_parsing_settles(shell, service):
    simulator = service(categories=ANYTHING, rules=AT_PARSE)
    shell.environment |= {"INGEST_POLL_DEADLINE": "4", "INGEST_MAX_UPLOAD_ATTEMPTS": "2"}
    for name in STATES_AT_PARSE:
        shell.put(name)
    ran = shell.type("run", str(shell.inbox), "--json")
    assert ran.code == 1, ran.stderr
    lines = shell.results(ran.json["batch_id"])
    assert {name: told(line) for name, line in lines.items()} == STATES_AT_PARSE
    assert lines["six.wav"]["error_message"] == "no audio track"
    assert lines["eight-full.wav"]["parse_content"]
    assert lines["seven.wav"]["llm_content"] == "a summary"
    assert lines["three-once.wav"]["upload_attempts"] == 2
    assert lines["three-always.wav"]["upload_attempts"] == 2
    assert simulator.summary()["uploads_taken"] == len(STATES_AT_PARSE) + 2
    assert ran.json["state"] == "finished"
    assert sum(ran.json["counts"].values()) == ran.json["total"] == len(STATES_AT_PARSE)
    assert ran.seconds < 15  # the deadline is kept to, not overslept


AT_FLOW = [
    rule("five-seven.wav", path((1, 0), (5, 1), (7, 2))),
    rule("five-eight.wav", path((1, 0), (5, 1), (8, 2)), llm_content={"shape": "null"}),
    rule("five-for-ever.wav", path((1, 0), (5, 1))),
    rule("never-five.wav", [1, 4, 4]),
    rule("six.wav", [1, 4, 6]),
    rule("eight-empty.wav", [1, 4, 8], parse_content={"shape": "empty_text"}),
    rule("seven.wav", [1, 4, 7]),
]
STATES_AT_FLOW = {
    "five-seven.wav": ("succeeded", 7, None),
    "five-eight.wav": ("partial", 8, "flow_failed"),
    "five-for-ever.wav": ("partial", 5, "deadline"),
    "never-five.wav": ("timed_out", 4, "deadline"),
    "six.wav": ("failed", 6, "parse_failed"),
    "eight-empty.wav": ("failed", 8, "flow_failed"),
    "seven.wav": ("succeeded", 7, None),
}


def test_every_status_leads_to_its_state_when_the_flow_settles(shell, service):
    service(categories=ANYTHING, rules=AT_FLOW)
    shell.environment |= {"INGEST_POLL_DEADLINE": "5", "CHATFLOW_SETTLE_AT": "flow"}
    for name in STATES_AT_FLOW:
        shell.put(name)
    ran = shell.type("run", str(shell.inbox), "--json")
    lines = shell.results(ran.json["batch_id"])
    assert {name: told(line) for name, line in lines.items()} == STATES_AT_FLOW
    for name in ("five-seven.wav", "five-eight.wav", "five-for-ever.wav", "seven.wav"):
        assert lines[name]["parse_content"], name


def test_a_file_that_timed_out_is_polled_on_by_retry_and_not_uploaded_again(shell, service):
    slow = {"kind": "fixed", "seconds": 3.5}
    simulator = service(categories=ANYTHING, time_to_ready=slow)
    paths = shell.put_many("{}.wav", 3)
    shell.environment["INGEST_POLL_DEADLINE"] = "2"
    ran = shell.type("run", *paths, "--json")
    assert (ran.code, ran.json["counts"]) == (1, {"timed_out": 3})
    assert ran.json["finished_at"]
    shell.environment["INGEST_POLL_DEADLINE"] = "60"
    again = shell.type("retry", ran.json["batch_id"], "--only", "timed_out", "--json")
    assert (again.code, again.json["counts"]) == (0, {"succeeded": 3}), again.stderr
    assert simulator.summary()["uploads_taken"] == 3
    assert {line["upload_attempts"] for line in shell.results(ran.json["batch_id"]).values()} == {1}


def test_what_can_not_be_uploaded_is_rejected_and_stops_nothing(shell, service, tmp_path):
    simulator = service(
        categories=[ANYTHING[0] | {"support_formats": "wav"}],
    )
    shell.environment["INGEST_MAX_FILE_BYTES"] = "1000"
    good = shell.put("good.wav")
    outside = tmp_path / "outside.wav"
    outside.write_bytes(b"secret")
    (shell.inbox / "link-out.wav").symlink_to(outside)
    (shell.inbox / "link-in.wav").symlink_to(good)
    (shell.inbox / "dangling.wav").symlink_to(shell.inbox / "nowhere")
    (shell.inbox / "folder.wav").mkdir()
    (shell.inbox / "linked-folder").symlink_to(tmp_path)
    (shell.inbox / "empty.wav").touch()
    (shell.inbox / "loop.wav").symlink_to(shell.inbox / "loop.wav")
    os.mkfifo(shell.inbox / "pipe.wav")
    shell.put("huge.wav", b"x" * 1001)
    shell.put("limit.wav", b"x" * 1000)
    shell.put("other.xyz")
    shell.put("noformat")
    shell.put("UPPER.WAV")
    names = [
        "good.wav", "link-out.wav", "link-in.wav", "dangling.wav", "empty.wav", "loop.wav",
        "pipe.wav", "huge.wav", "limit.wav", "other.xyz", "noformat", "gone.wav", "UPPER.WAV",
    ]  # fmt: skip
    paths = [str(shell.inbox / name) for name in names]
    paths += [str(outside), "/dev/zero", "/etc/passwd", str(shell.inbox / ".." / "outside.wav")]
    paths += [str(shell.inbox / "linked-folder" / "outside.wav"), str(shell.inbox / ("l" * 300))]
    paths += [
        "http://127.0.0.1:9/a.wav",
        "ftp://x/y.wav",
        "s3://bucket/key.wav",
        "file:///etc/hosts",
    ]
    ran = shell.type("run", *paths, "--json")
    assert ran.code == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    listed = shell.type("results", ran.json["batch_id"])
    lines = {}
    for text in listed.stdout.splitlines():
        line = json.loads(text)
        lines[line["source"]] = line
    assert len(lines) == len(paths)
    states = {
        s.removeprefix(f"{shell.inbox}/"): (v["state"], v["error_code"]) for s, v in lines.items()
    }
    assert states["good.wav"] == states["link-in.wav"] == states["limit.wav"] == ("succeeded", None)
    assert states["UPPER.WAV"] == ("succeeded", None)
    expected = {
        "link-out.wav": "outside_roots", "dangling.wav": "not_found", "empty.wav": "empty",
        "loop.wav": "not_found", "pipe.wav": "not_a_file", "huge.wav": "too_large",
        "other.xyz": "unsupported_format", "noformat": "unsupported_format",
        "gone.wav": "not_found", str(outside): "outside_roots", "/dev/zero": "outside_roots",
        "/etc/passwd": "outside_roots", "l" * 300: "not_found",
        "http://127.0.0.1:9/a.wav": "outside_roots", "ftp://x/y.wav": "outside_roots",
        "s3://bucket/key.wav": "outside_roots", "/etc/hosts": "outside_roots",
        "linked-folder/outside.wav": "outside_roots",
    }  # fmt: skip
    assert {s: states[s] for s in expected} == {s: ("rejected", c) for s, c in expected.items()}
    assert simulator.summary()["uploads_taken"] == 4
    assert {v["upload_attempts"] for v in lines.values() if v["state"] == "rejected"} == {0}


def test_a_url_outside_the_roots_is_not_even_asked(shell, service):
    service(categories=ANYTHING)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        ran = shell.type("run", f"{address}/folder/", f"{address}/a.wav", "--json")
        assert ran.json["counts"] == {"rejected": 2}
        with pytest.raises(BlockingIOError):
            listener.accept()
