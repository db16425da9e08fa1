"""``doctor`` with a service to speak to: the canary, the recording, and its replay."""

import json
import stat
from contextlib import contextmanager

import pytest

from tests.cli.desk import invoke
from worker.core.recording import read
from worker.simulator import replaying, running

SOON = {"time_to_ready": {"kind": "fixed", "seconds": 0.4}}
SECRETS = {
    "CHATFLOW_ROBOT_KEY": "kkk-secret-key",
    "CHATFLOW_ROBOT_TOKEN": "ttt-secret-token",
    "CHATFLOW_USERNAME": "uuu-secret-user",
}
ACCOUNT = {
    "robot_key": SECRETS["CHATFLOW_ROBOT_KEY"],
    "robot_token": SECRETS["CHATFLOW_ROBOT_TOKEN"],
    "username": SECRETS["CHATFLOW_USERNAME"],
}


@pytest.fixture
def serve(database, monkeypatch):
    """Starts a stand-in that the environment names."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    @contextmanager
    def start(**scenario):
        with running(SOON | {"strict": True, "credentials": ACCOUNT} | scenario) as simulator:
            monkeypatch.setenv("CHATFLOW_BASE_URL", simulator.url)
            yield simulator

    return start


def checks(result):
    return {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def recorded(path):
    with path.open(encoding="utf-8") as lines:
        return read(lines)


def test_every_check_says_how_long_it_took(serve):
    with serve():
        found = json.loads(invoke("doctor", "--json").stdout)

    assert found["ok"]
    assert {tuple(check) for check in found["checks"]} == {
        ("name", "ok", "detail", "cure", "seconds")
    }
    assert all(check["seconds"] >= 0 for check in found["checks"])
    assert "differences" not in found


def test_a_canary_goes_all_the_way(serve, tmp_path):
    file = tmp_path / "page.pdf"
    file.write_bytes(b"%PDF-1.4")
    with serve() as simulator:
        result = invoke("doctor", "--json", "--canary", str(file))
        (entry,) = simulator.ledger()["uploads"]

    canary = checks(result)["canary"]
    assert result.exit_code == 0
    assert canary["ok"]
    assert 'page.pdf as "Document": succeeded' in canary["detail"]
    assert entry["file_name"] == "page.pdf"
    assert entry["last_status"] == 5


@pytest.mark.parametrize(
    ("name", "content", "scenario", "told"),
    [
        ("gone.pdf", None, {}, "gone.pdf"),
        ("plan.xyz", b"x", {}, "is of format xyz"),
        ("call.wav", b"x", {"path": [1, 6]}, "parse failed"),
        (
            "call.wav", b"x",
            {"faults": [{"on": "upload", "do": "code", "code": "400777", "message": "full"}]},
            "400777 full",
        ),
    ],
)  # fmt: skip
def test_a_canary_that_does_not_come_back_fails_the_check(
    serve, tmp_path, name, content, scenario, told
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with serve(**scenario):
        result = invoke("doctor", "--json", "--canary", name)

    canary = checks(result)["canary"]
    assert result.exit_code == 1
    assert told in canary["detail"]
    assert canary["cure"]


def test_a_recording_holds_the_exchange_and_nothing_private(serve, tmp_path):
    kept = tmp_path / "kept.jsonl"
    with serve() as simulator:
        result = invoke("doctor", "--record", str(kept))
        (entry,) = simulator.ledger()["uploads"]
    assert result.exit_code == 0, result.output
    head, events = recorded(kept)

    on = [event["on"] for event in events]
    assert sorted(set(on), key=on.index) == ["dialog", "upload", "status", "bulk"]
    frames = [e["json"] for e in events if (e["on"], e["do"]) == ("dialog", "received")]
    assert [frame["index"] for frame in frames][:3] == [-2, -1, -3]
    assert [e["at"] for e in events] == sorted(e["at"] for e in events)
    text = kept.read_text(encoding="utf-8")
    for private in ("secret", "message1", "Keep the tables", entry["file_name"], "Audio test"):
        assert private not in text
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert head["settings"]["CHATFLOW_SETTLE_AT"] == "parse"
    assert "No difference" in result.stdout


def test_what_differs_is_told_with_the_setting_that_answers_it(serve, tmp_path):
    with serve(path=[1, 5, 7], noise_frames=True):
        result = invoke("doctor", "--json", "--record", str(tmp_path / "kept.jsonl"))

    told = json.loads(result.stdout)["differences"]
    assert {"setting": "CHATFLOW_SETTLE_AT=flow"}.items() <= {
        key: value for one in told if one["setting"] for key, value in one.items()
    }.items()
    assert any("no JSON" in one["words"] for one in told)


def test_a_dialog_that_leads_nowhere_is_recorded_too(serve, tmp_path):
    kept = tmp_path / "kept.jsonl"
    with serve(chats=True) as simulator:
        result = invoke("doctor", "--record", str(kept))
        assert simulator.summary()["uploads_received"] == 0

    assert result.exit_code == 1
    assert "CHATFLOW_QUESTION or CHATFLOW_FLOW_UUID" in result.stdout
    assert recorded(kept)[1][-1]["do"] == "failed"


def test_refused_credentials_are_recorded_as_the_handshake_s_answer(serve, tmp_path, monkeypatch):
    kept = tmp_path / "kept.jsonl"
    with serve():
        monkeypatch.setenv("CHATFLOW_ROBOT_KEY", "wrong%3D")
        result = invoke("doctor", "--record", str(kept))

    assert result.exit_code == 1
    assert "CHATFLOW_DECODE_CREDENTIALS=on" in result.stdout
    assert [(e["do"], e.get("status")) for e in recorded(kept)[1]] == [
        ("opened", 401), ("failed", None),
    ]  # fmt: skip


def test_a_recording_that_can_t_be_written_is_a_usage_error(serve):
    with serve() as simulator:
        result = invoke("doctor", "--record", "nowhere/kept.jsonl")

        assert result.exit_code == 2
        assert "nowhere/kept.jsonl" in result.stderr
        assert simulator.summary()["uploads_received"] == 0


@pytest.mark.parametrize(
    "scenario",
    [
        {
            "image_methods": True,
            "notices_with_error_code": True,
            "wire": {"numbers_as_strings": True, "code_as_integer": True},
        },
        {"jump": "empty_question", "parse_content": {"shape": "broken_repr"}, "path": [1, 5, 7]},
    ],
)
def test_a_replay_gives_what_was_recorded(serve, tmp_path, monkeypatch, scenario):
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    with serve(**scenario):
        invoke("doctor", "--record", str(first))
    with replaying(first) as url:
        monkeypatch.setenv("CHATFLOW_BASE_URL", url)
        invoke("doctor", "--record", str(second))

    assert shapes(second) == shapes(first)


def shapes(path):
    """What was received, in order, without ids that are new each time."""
    shown = [
        (event["on"], outline(event["json"]))
        for event in recorded(path)[1]
        if event["do"] == "received" and event["on"] != "bulk"
    ]
    statuses = [value for on, value in shown if on == "status"]
    return [one for one in shown if one[0] != "status"], statuses[0], statuses[-1]


def outline(value, key=""):
    match value:
        case dict():
            return {name: outline(item, name) for name, item in value.items()}
        case list():
            return [outline(item, key) for item in value]
        case _ if key.endswith(("id", "timestamp")) or key in {"audio", "name", "file_name"}:
            return type(value)
        case _:
            return value
