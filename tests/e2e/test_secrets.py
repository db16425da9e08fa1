"""The credentials appear nowhere, whatever goes wrong and however much is logged.

What a fleet shows is looked at by tests/distributed/test_secrets_of_a_fleet.py.
"""

import sqlite3

import pytest

from tests.e2e.shells import ANYTHING, kill, together, wait_for

KEY, TOKEN, USER = "kEy-5ecret/+=%3D", "t0ken-5ecret&<>", "us3r-5ecret@example.com"
DEBUG = {"INGEST_LOG_LEVEL": "DEBUG", "PYTHONASYNCIODEBUG": "1"}
GIVEN = {"CHATFLOW_ROBOT_KEY": KEY, "CHATFLOW_ROBOT_TOKEN": TOKEN, "CHATFLOW_USERNAME": USER}
EXPECTED = {"robot_key": KEY, "robot_token": TOKEN, "username": USER}
PARTS = [b"5ecret"]


def leaks(*texts):
    return [
        text[max(0, place - 200) : place + 100]
        for text in texts
        for part in PARTS
        if (place := text.find(part)) >= 0
    ]


def on_disk(shell):
    return [
        path.read_bytes()
        for path in shell.folder.iterdir()
        if path.is_file() and path.name.startswith("ingest.db")
    ]


@pytest.fixture
def secret_shell(shell):
    shell.environment |= DEBUG | GIVEN
    return shell


ECHO = f"refused {KEY} {TOKEN} {USER}"
SCENES = {
    "well": {},
    "refused": {"credentials": {}},
    "refused by frame": {"credentials": {"refuse_dialog": "frame"}},
    "echoed by the dialog": {
        "faults": [{"on": "dialog", "do": "code", "code": "400123", "message": ECHO}]
    },
    "echoed by a text": {
        "faults": [{"on": "dialog", "do": "error_text", "text": f"系统异常({ECHO})"}]
    },
    "echoed at closing": {
        "faults": [{"on": "dialog", "do": "close", "code": 1008, "reason": f"{KEY} {USER}"}]
    },
    "echoed by an upload": {
        "faults": [{"on": "upload", "do": "code", "code": "400123", "message": ECHO}]
    },
    "echoed as garbage": {"faults": [{"on": "upload", "do": "garbage", "body": ECHO}]},
    "echoed by a status": {
        "faults": [{"on": "status", "do": "code", "code": "400123", "message": ECHO}]
    },
    "echoed as an error": {"path": [1, 6], "rules": [], "error_msg": ECHO},
    "resets": {
        "faults": [{"on": "upload", "do": "reset"}, {"on": "dialog", "do": "reset", "first": 1}]
    },
    "garbage frames": {"faults": [{"on": "dialog", "do": "garbage", "body": ECHO}]},
}


def nothing_leaks(secret_shell, scene):
    secret_shell.environment |= DEBUG | GIVEN
    scenario = {"categories": ANYTHING, "credentials": EXPECTED} | SCENES[scene]
    if "error_msg" in scenario:
        message = scenario.pop("error_msg")
        scenario["rules"] = [{"file_name": "*", "path": [1, 6], "error_msg": message}]
    secret_shell.serve(scenario)
    secret_shell.environment |= {
        "INGEST_MAX_UPLOAD_ATTEMPTS": "1",
        "CHATFLOW_DIALOG_TIMEOUT": "3",
        "INGEST_UNREACHABLE_AFTER": "2",
        "INGEST_POLL_DEADLINE": "3",
        "INGEST_LOG_FORMAT": "json" if list(SCENES).index(scene) % 2 else "text",
    }
    ran = secret_shell.type("run", *secret_shell.put_many("{}.wav", 2), "--json")
    assert ran.code in {0, 1}, ran.stderr
    others = []
    if scene == "well":
        assert ran.code == 0
        line = next(iter(secret_shell.results(ran.batch).values()))
        others += [
            secret_shell.type("show", line["file_id"]),
            secret_shell.type("results", ran.batch),
            secret_shell.type("status", ran.batch),
            secret_shell.type("doctor"),
            secret_shell.type("plan", str(secret_shell.inbox)),
            secret_shell.type("report", ran.batch, "--output", "-"),
            secret_shell.type("config", "--json"),
        ]
    said = [text.encode() for each in (ran, *others) for text in (each.stdout, each.stderr)]
    assert "debug" in ran.stderr  # the level was really on
    assert leaks(*said, *on_disk(secret_shell)) == []


def test_no_credential_leaks(new_shell):
    together(nothing_leaks, SCENES, new_shell)


def test_no_credential_leaks_from_a_killed_run(secret_shell, service):
    simulator = service({"categories": ANYTHING, "credentials": EXPECTED})
    process = secret_shell.start("run", *secret_shell.put_many("{}.wav", 20))
    wait_for(lambda: simulator.summary()["uploads_taken"], "an upload")
    _, out, err = kill(process)
    assert any(path.name.endswith("-wal") for path in secret_shell.folder.iterdir())
    assert leaks(out.encode(), err.encode(), *on_disk(secret_shell)) == []


def test_no_credential_leaks_from_an_internal_error(secret_shell, service):
    """A table that is gone breaks every step in its middle."""
    service({"categories": ANYTHING, "credentials": EXPECTED})
    assert secret_shell.type("db", "upgrade").code == 0
    database = sqlite3.connect(secret_shell.folder / "ingest.db")
    database.execute("DROP TABLE uploads")
    database.close()
    ran = secret_shell.type("run", *secret_shell.put_many("{}.wav", 2), "--timeout", "4")
    assert ran.code != 0
    assert leaks(ran.stdout.encode(), ran.stderr.encode(), *on_disk(secret_shell)) == []


WRONG = [
    {"CHATFLOW_ROBOT_KEY": f"{KEY}\n中"},
    {"CHATFLOW_BASE_URL": f"https://{USER}:{KEY}@example.com"},
    {"CHATFLOW_BASE_URL": KEY},
    {"INGEST_BROKER_URL": f"carrier://{KEY}"},
    {"INGEST_DATABASE_URL": f"postgresql://{USER}:{TOKEN}@127.0.0.1:1/none"},
    {"INGEST_RATE_LIMIT": KEY},
    {"CHATFLOW_CA_BUNDLE": "in/a.wav"},
    {"INGEST_ROOTS": "file://elsewhere/folder"},
    {"CHATFLOW_BASE_URL": "http://host:abc"},
]


def a_faulty_configuration_stops_a_run(secret_shell, number):
    secret_shell.environment |= DEBUG | GIVEN
    (secret_shell.folder / "ingest.db").unlink()  # nothing may be started, not even this
    wrong = WRONG[number]
    ran = secret_shell.type("run", secret_shell.put("a.wav"), **wrong)
    if "INGEST_DATABASE_URL" in wrong:
        assert ran.code == 1, ran.stderr
    else:
        assert ran.code == 2, ran.stderr
        assert next(iter(wrong)) in ran.stderr
        assert not on_disk(secret_shell)
    assert "Traceback" not in ran.stderr
    assert leaks(ran.stdout.encode(), ran.stderr.encode()) == []


def test_a_faulty_configuration_stops_a_run_and_leaks_nothing(new_shell):
    together(a_faulty_configuration_stops_a_run, range(len(WRONG)), new_shell)
