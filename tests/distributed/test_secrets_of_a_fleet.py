"""No credential, password or signing secret comes out of a fleet, by whatever channel one looks at it."""

import base64
import threading
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from redis import Redis
from sqlalchemy import create_engine, make_url, text
from typer.testing import CliRunner

from tests import standins
from tests.distributed.fleet import QUICK
from tests.distributed.test_metrics_of_a_fleet import free_port
from worker.app import beat_schedule
from worker.cli import app
from worker.settings import Settings

PART = "5ecret"
SIGNING = "whsec_" + base64.b64encode(b"5ecret-of-the-webhook-and-some-more").decode()
PLANTED = {
    "CHATFLOW_ROBOT_KEY": "kEy-5ecret/+=%3D",
    "CHATFLOW_ROBOT_TOKEN": "t0ken-5ecret&<>",
    "CHATFLOW_USERNAME": "us3r-5ecret@example.com",
    "INGEST_WEBHOOK_SECRET": SIGNING,
    "OTHER_ROBOT_TOKEN": "0ther-5ecret",
    "FLOWER_BASIC_AUTH": "watcher:fl0wer-5ecret",
}
ECHO = "refused " + " ".join(PLANTED[name] for name in list(PLANTED)[:3])
SCENARIO = QUICK | {
    "credentials": {
        "robot_key": PLANTED["CHATFLOW_ROBOT_KEY"],
        "robot_token": PLANTED["CHATFLOW_ROBOT_TOKEN"],
        "username": PLANTED["CHATFLOW_USERNAME"],
    },
    "rules": [{"file_name": "echo-*", "path": [1, 6], "error_msg": ECHO}],
    "faults": [
        {"on": "upload", "do": "code", "code": "400123", "message": ECHO, "calls": [2]},
        {"on": "status", "do": "code", "code": "400123", "message": ECHO, "calls": [1]},
        {
            "on": "dialog",
            "do": "close",
            "code": 1011,
            "reason": f"restarting {PLANTED['CHATFLOW_ROBOT_KEY']}",
            "calls": [1],
        },
    ],
}
PROFILES = """
[profiles.other]
base_url = "{url}"
robot_key_file = "{folder}/other_key"
robot_token_env = "OTHER_ROBOT_TOKEN"
username = "another"
"""
SCHEDULES = """
[[schedule]]
name = "nightly"
cron = "0 2 * * *"
paths = ["{inbox}"]
"""
FORMS = (PART, base64.b64encode(b"5ecret-of")[:-4].decode())
"""What is looked for: the same in all that was planted, and how the signing secret is written."""


def leaks(said):
    """Each channel that says a secret, with what stands around it."""
    return {
        name: words[max(0, place - 150) : place + 60]
        for name, words in said.items()
        for form in FORMS
        if (place := words.find(form)) >= 0
    }


@pytest.fixture
def planted(one_fleet):
    """A fleet whose every secret can be told from other words."""
    fleet = one_fleet
    fleet.simulator.set_scenario(SCENARIO)
    (fleet.folder / "other_key").write_text("0ther-key-5ecret")
    (fleet.folder / "profiles.toml").write_text(
        PROFILES.format(url=fleet.simulator.url, folder=fleet.folder)
    )
    (fleet.folder / "schedules.toml").write_text(SCHEDULES.format(inbox=fleet.inbox))
    # Both servers let anybody in, whatever the password.
    database = make_url(fleet.database_url).set(password="d4tabase-5ecret")
    fleet.environment |= PLANTED | {
        "INGEST_DATABASE_URL": database.render_as_string(hide_password=False),
        "INGEST_BROKER_URL": fleet.broker_url.replace("://", "://default:br0ker-5ecret@"),
        "INGEST_PROFILES": str(fleet.folder / "profiles.toml"),
        "INGEST_SCHEDULES": str(fleet.folder / "schedules.toml"),
        "INGEST_LOG_LEVEL": "DEBUG",
        "OTEL_TRACES_EXPORTER": "console",
        "PYTHONASYNCIODEBUG": "1",
    }
    return fleet


@contextmanager
def overheard(broker):
    """All that is said to a Redis meanwhile, passwords of its own apart: messages, arguments, events."""
    if standins.is_fakeredis(broker):
        pytest.skip("fakeredis has no MONITOR to listen by")
    heard, end = [], "the test has heard enough"
    with Redis.from_url(broker, decode_responses=True) as client, client.monitor() as monitor:

        def listen():
            for command in monitor.listen():
                heard.append(str(command["command"]))
                if end in heard[-1]:
                    return

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield heard
        finally:
            client.echo(end)
            thread.join()


def rows(url):
    """Every value of every table."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            tables = connection.execute(
                text(
                    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
                )
            ).scalars()
            return {
                f"table {name}": str(list(connection.execute(text(f'SELECT * FROM "{name}"'))))
                for name in list(tables)
            }
    finally:
        engine.dispose()


def asked(url):
    login = base64.b64encode(PLANTED["FLOWER_BASIC_AUTH"].encode()).decode()
    try:
        with urlopen(Request(url, headers={"Authorization": f"Basic {login}"}), timeout=20) as page:
            return page.read().decode()
    except HTTPError as error:
        return error.read().decode()


COMMANDS = (
    "status", "status BATCH", "status BATCH --json", "results BATCH --format jsonl", "results BATCH --format csv",
    "show FILE", "show FILE --json", "report BATCH --output -", "audit --json", "plan INBOX --json", "config",
    "config --json", "doctor", "doctor --json", "notify list --json",
    "schedules list --json", "retry BATCH --only failed --json", "run INBOX --profile nobody",
)  # fmt: skip


def commanded(fleet, monkeypatch, **names):
    """What each command says, in this process."""
    monkeypatch.chdir(fleet.folder)
    for name, value in fleet.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("worker.cli.waking.PATIENCE", 0.2)
    said = {}
    for line in COMMANDS:
        words = [names.get(word, word) for word in line.split()]
        result = CliRunner().invoke(app, words)
        assert result.exit_code in {0, 1, 2}, (line, result.output)
        assert "Traceback" not in result.output, result.output
        said[line] = result.stdout + result.stderr
    said["what Beat sends"] = str(beat_schedule(Settings.load()))
    return said


def test_nothing_that_a_fleet_shows_says_a_secret(planted, monkeypatch):
    fleet, port, flowers = planted, free_port(), free_port()
    with overheard(fleet.broker_url) as heard:
        as_json = fleet.worker("--loglevel", "DEBUG", INGEST_METRICS_PORT=str(port))
        as_text = fleet.worker(INGEST_LOG_FORMAT="text", ready=False)
        flower = fleet.celery("flower", "flower", f"--port={flowers}", "--address=127.0.0.1")
        paths = [*fleet.put("file-{}.wav", 3), *fleet.put("echo-{}.wav", 1)]
        done = fleet.cli("-vv", "submit", *paths[:1], "--notify", "http://127.0.0.1:9/hook")
        batch = fleet.cli("-vv", "submit", *paths, "--notify", "told@queue").stdout.strip()
        fleet.await_finish(batch)
        file = next(iter(fleet.store.results(fleet.store.batches()[0].batch_id))).file_id
        base = f"http://127.0.0.1:{flowers}"
        flower.await_word("Visit me")
        pages = ("batches", f"batches/{batch}", f"batches/{batch}/files/{file}", "workers", "tasks", "broker",
                 "api/workers?refresh=1", "api/tasks", "worker/w1@test", "metrics")  # fmt: skip
        shown = {f"flower /{page}": asked(f"{base}/{page}") for page in pages}
        shown["metrics"] = asked(f"http://127.0.0.1:{port}/metrics")
        tables = rows(fleet.database_url)
        said = commanded(fleet, monkeypatch, BATCH=batch, FILE=str(file), INBOX=str(fleet.inbox))
    logs = {process.name: process.said for process in (as_json, as_text, flower)}
    channels = {
        **logs, **shown, **said, **tables,
        "submit": done.stdout + done.stderr, "the broker": "\n".join(heard),
    }  # fmt: skip

    assert leaks(channels) == {}
    assert '"name": "upload"' in logs["w1"] + logs["w2"]  # a trace
    assert "debug" in logs["w1"]  # the levels were really on
    assert "[debug" in logs["w2"]
    assert "file_ended" in logs["w1"] + logs["w2"]
    assert "[redacted]" in channels["table files"]  # the service did say them
    assert "worker.submit" in channels["the broker"]
    assert "chatflow_ingest_uploads_total" in shown["metrics"]
    assert batch in shown["flower /batches"]
    assert "worker.submit" in shown["flower /api/tasks"] + shown["flower /tasks"]
