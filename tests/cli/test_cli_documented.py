"""Every command line that README, reference and operations show is typed here, or by the test that is named."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from contextlib import closing

import pytest
from sqlalchemy import make_url
from typer.main import get_command

from tests import pages
from tests.cli.desk import invoke
from tests.contract.bench import Bench, done
from tests.deploy.test_command_lines import flower_options, unknown
from worker.adapters.database import open_store
from worker.cli import app
from worker.simulator import running

PAGES = (pages.README, pages.REFERENCE, pages.OPERATIONS)
LINES = [line for page in PAGES for line in pages.lines(page)]
TYPED_ELSEWHERE = {
    "Against the real service"
}  # by tests/e2e/test_readme_commands.py, as a user would
UNTIL_INTERRUPTED = {"metrics", "simulator"}
AWAY = "redis://127.0.0.1:1/0"
SCHEDULES = """
[[schedule]]
name = "nightly-calls"
cron = "0 2 * * *"
paths = ["{folder}"]
stable_for = 0
"""


@pytest.fixture
def desk(database, tmp_path, monkeypatch):
    """A database with a batch that is over, a service, and a schedule."""
    with closing(_opened(database)) as store:
        batch = ingested(store)
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    (recordings / "call.wav").write_bytes(b"RIFF")
    (tmp_path / "schedules.toml").write_text(SCHEDULES.format(folder=recordings))
    monkeypatch.setenv("INGEST_SCHEDULES", str(tmp_path / "schedules.toml"))
    for name, value in {
        "ROBOT_KEY": "demo-key",
        "ROBOT_TOKEN": "demo-token",
        "USERNAME": "demo",
    }.items():
        monkeypatch.setenv(f"CHATFLOW_{name}", value)
    with running({}) as simulator:
        monkeypatch.setenv("CHATFLOW_BASE_URL", simulator.url)
        yield {"BATCH": str(batch), "FILE": "00000.wav", "PATH...": "recordings"}


def ingested(store):
    """A batch of two files with its whole account."""
    batch, files = Bench(store).polling(2, external_key="nightly")
    store.record([done(file) for file in files])
    store.finish([batch])
    return batch


def _opened(url):
    from worker.adapters.database.engine import migrate

    migrate.upgrade(url)
    return open_store(url)


def ours():
    return [line for line in LINES if line.words[0] == "chatflow-ingest"]


def in_process():
    return [
        line
        for line in ours()
        if line.section not in TYPED_ELSEWHERE and line.words[1] not in UNTIL_INTERRUPTED
    ]


def test_there_are_lines_of_both_pages():
    assert {line.page for line in in_process()} == {"README.md", "OPERATIONS.md"}
    assert len(in_process()) > 15


@pytest.mark.parametrize("line", in_process(), ids=lambda line: " ".join(line.words))
def test_a_command_that_is_shown_does_something(desk, monkeypatch, line):
    words = [desk.get(word, word) for word in line.words[1:]]
    if words[0] in {"submit", "retry"}:  # which do the work themselves unless there is a broker
        monkeypatch.setenv("INGEST_BROKER_URL", AWAY)
        monkeypatch.setattr("worker.cli.waking.PATIENCE", 0.1)
    result = invoke(*words)

    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "line",
    [line for line in ours() if line not in in_process()],
    ids=lambda line: " ".join(line.words),
)
def test_a_command_that_is_typed_elsewhere_has_these_options(line):
    understood(line.words[1:])


@pytest.mark.parametrize(
    "text",
    sorted(
        {t for page in PAGES for t in pages.mentioned(page)} - {"chatflow-ingest COMMAND --help"}
    ),
)
def test_a_command_within_a_sentence_exists(text):
    program, *words = shlex.split(text.replace("…", ""))
    if program == "chatflow-ingest":
        understood(words)
    else:
        a_command_line_of_celery(words)


def understood(words):
    """The command and its options exist; placeholders may stand for anything."""
    command = get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert unknown(words, known) == []


def a_command_line_of_celery(words):
    from celery.bin.celery import celery

    match words:
        case ["-A", "worker", "flower", *options]:
            assert unknown(options, flower_options()) == []
        case ["-A", "worker", "worker" | "beat" as name, *options]:
            assert unknown(options, {o for p in celery.commands[name].params for o in p.opts}) == []
        case _:
            pytest.fail(f"nobody knows {words}")


@pytest.mark.parametrize(
    "line", [line for line in LINES if line not in ours()], ids=lambda line: " ".join(line.words)
)
def test_every_other_line_is_one_of_a_known_kind(line):
    match line.words:
        case ["celery", *words]:
            a_command_line_of_celery(words)
        case ["python", "-m", module]:
            assert importlib.util.find_spec(module) is not None
        case ["make", target, *_]:
            assert f".PHONY: {target}\n" in (pages.ROOT / "Makefile").read_text(encoding="utf-8")
        case ["export", assignment]:
            assert re.fullmatch(r"(CHATFLOW|INGEST)_[A-Z_]+=.*", assignment)
        case ["pg_dump" | "pg_restore" | "mariadb-dump" | "sqlite3", *_]:
            pass  # below
        case words:
            pytest.fail(f"no test types {words}")


# --- backups -------------------------------------------------------------------------------------


def shown(tool):
    (line,) = [line.text for line in LINES if line.words[0] == tool]
    if shutil.which(tool) is None:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"no {tool} on this machine")
        pytest.skip(f"no {tool} on this machine")
    return line


def typed(line, folder, **variables):
    subprocess.run(
        ["sh", "-euc", line], cwd=folder, env={**os.environ, **variables}, check=True, timeout=60
    )


def balanced(url, monkeypatch):
    """The restored database has the batch, at this version, and its account balances."""
    monkeypatch.setenv("INGEST_DATABASE_URL", url)
    assert invoke("db", "upgrade").exit_code == 0
    assert invoke("audit").exit_code == 0
    status = json.loads(invoke("status", "nightly", "--json").stdout)
    return status["counts"] == {"succeeded": 2}


def test_a_backup_of_postgresql_is_restored(
    database, postgres_url, databases, tmp_path, monkeypatch
):
    with closing(open_store(postgres_url)) as store:
        ingested(store)
    another = databases(postgres_url)
    plain = {
        name: url.replace("postgresql+psycopg", "postgresql")
        for name, url in (("DATABASE", postgres_url), ("RESTORED", another))
    }
    typed(shown("pg_dump"), tmp_path, **plain)
    typed(shown("pg_restore"), tmp_path, **plain)

    assert balanced(another, monkeypatch)


def test_a_backup_of_mariadb_is_restored(database, mariadb_url, databases, tmp_path, monkeypatch):
    with closing(open_store(mariadb_url)) as store:
        ingested(store)
    url, another = make_url(mariadb_url), databases(mariadb_url)
    options = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
    told = "".join(f"{name}={value}\n" for name, value in options.items() if value)
    (tmp_path / "backup.cnf").write_text(f"[client]\n{told}")
    typed(shown("mariadb-dump"), tmp_path, NAME=url.database)
    restore = f"mariadb --defaults-extra-file=backup.cnf {make_url(another).database} <ingest.sql"
    typed(restore, tmp_path)

    assert balanced(another, monkeypatch)


def test_a_backup_of_sqlite_is_restored(database, tmp_path, monkeypatch):
    (tmp_path / "test.db").touch()
    monkeypatch.setenv("INGEST_DATABASE_URL", f"sqlite:///{tmp_path / 'chatflow-ingest.db'}")
    with closing(_opened(f"sqlite:///{tmp_path / 'chatflow-ingest.db'}")) as store:
        ingested(store)
        typed(shown("sqlite3"), tmp_path)  # while it is in use

    assert balanced(f"sqlite:///{tmp_path / 'ingest-copy.db'}", monkeypatch)
