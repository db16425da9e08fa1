"""The life of a worker process: it begins, whatever it takes, and never only seems to work."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from types import SimpleNamespace
from uuid import uuid4

import pytest
from celery.worker import state

from tests.distributed.fleet import KEY, QUICK, TOKEN, USER, wait_for
from tests.fakes import Events
from worker import process
from worker.adapters.database import open_store
from worker.app import app, configure
from worker.bootstrap import HandInRequest, hand_in
from worker.core.model.ids import BatchId
from worker.embedded import EmbeddedRun
from worker.errors import WorkerEnded
from worker.settings import Settings
from worker.simulator import running


@pytest.fixture
def configured(monkeypatch, tmp_path):
    """The Celery application on a broker in memory; put back afterwards."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "CHATFLOW_ROBOT_KEY": KEY,
        "CHATFLOW_ROBOT_TOKEN": TOKEN,
        "CHATFLOW_USERNAME": USER,
    }.items():
        monkeypatch.setenv(name, value)
    before = dict(app.conf)
    yield configure(Settings.load(), embedded=True)
    app.conf.update(before)


def test_a_database_that_is_away_when_a_worker_is_ready_delays_it_only(
    configured, monkeypatch, tmp_path
):
    monkeypatch.setattr(process, "STORE_AWAY_PAUSE", 0.01)
    folder = tmp_path / "later"
    monkeypatch.setenv("INGEST_DATABASE_URL", f"sqlite:///{folder}/ingest.db")
    heard = Events()
    monkeypatch.setattr(process, "LogTelemetry", lambda: heard)
    monkeypatch.setattr(process, "telling", lambda _: heard)
    process.stopping.clear()
    try:
        process._begin(sender=SimpleNamespace(hostname="w@test"))
        wait_for(lambda: len(heard.said("store_unavailable")) > 1, "two tries")
        assert os.getpid() not in process._runtimes
        folder.mkdir()
        wait_for(lambda: os.getpid() in process._runtimes, "the worker to begin")
        wait_for(lambda: heard.said("worker_ready"), "the worker to begin")
    finally:
        process.stopping.set()
        process._close()
        process.stopping.clear()


def test_an_embedded_worker_that_ends_by_itself_ends_the_waiting(
    configured, monkeypatch, sqlite_url, tmp_path
):
    never_ready = QUICK | {"time_to_ready": {"kind": "fixed", "seconds": 1000}}
    with running(never_ready) as simulator:
        monkeypatch.setenv("CHATFLOW_BASE_URL", simulator.url)
        monkeypatch.setenv("INGEST_DATABASE_URL", sqlite_url)
        settings = Settings.load()
        store, batch = open_store(settings.database_url), BatchId(uuid4())
        (tmp_path / "a.txt").write_text("words")
        hand_in(store, HandInRequest(batch, embedded=True), [str(tmp_path / "a.txt")])
        try:
            with EmbeddedRun(settings, store, batch, "default") as run:
                state.should_terminate = True
                with pytest.raises(WorkerEnded):
                    run.wait(lambda _: None, timeout=30)
        finally:
            state.should_terminate = None
            store.close()


def test_a_metrics_port_that_is_in_use_is_told_before_anything_starts(
    configured, monkeypatch, sqlite_url, capsys
):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("INGEST_METRICS_PORT", str(port))
        monkeypatch.setenv("INGEST_BROKER_URL", "redis://127.0.0.1:6379/0")
        monkeypatch.setenv("INGEST_DATABASE_URL", sqlite_url)
        with pytest.raises(SystemExit) as left:
            process._check_first()
    assert left.value.code == 2
    assert "INGEST_METRICS_PORT" in capsys.readouterr().err


STUCK = """
import threading
from worker import process
process.END_WITHIN = 0.1
process._drain()
threading.Event().wait(60)
"""


def test_a_worker_that_something_holds_up_ends_all_the_same_and_says_where_it_stood():
    ended = subprocess.run(
        [sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 1
    assert "worker_stuck" in ended.stdout + ended.stderr
    assert 'File "<string>", line 6 in <module>' in ended.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["worker", "--loglevel", "ERROR"], False),
        (["worker", "-lINFO"], True),
        (["worker"], True),
    ],
)
def test_what_the_command_line_says_of_the_log_is_done(
    configured, monkeypatch, tmp_path, line, said
):
    monkeypatch.setenv("INGEST_LOG_LEVEL", "INFO")
    monkeypatch.setattr(sys, "argv", ["celery", *line])
    root = logging.getLogger()
    before = root.handlers[:], root.level
    file = tmp_path / "worker.log"
    asked = {"ERROR": logging.ERROR, "-lINFO": logging.INFO}.get(line[-1], logging.WARNING)
    try:
        process._log_our_way(loglevel=asked, logfile=str(file))
        logging.getLogger("celery").info("as it is")
        root.handlers[0].close()
    finally:
        root.handlers[:], root.level = before[0], before[1]
    assert ("as it is" in file.read_text()) == said
