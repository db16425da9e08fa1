"""Starting, stopping and asking workers, Beat and Flower."""

import base64
import json
import signal
import time
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from kombu import Connection
from kombu.exceptions import OperationalError
from sqlalchemy import func, make_url, select, update

from tests.certificates import certificate
from tests.crash.servers import free_port
from tests.crash.servers import redis as private_redis
from tests.distributed.audit import audit
from tests.distributed.fleet import PAIRS, QUICK, wait_for
from worker.adapters.broker.options import tls_options
from worker.adapters.database.engine.engines import parse, single
from worker.adapters.database.tables import schedule_runs
from worker.client import submit_batch
from worker.core.timings import Timings

SLOW = QUICK | {"faults": [{"on": "upload", "do": "slow", "seconds": 0.2}]}


@pytest.mark.parametrize(
    ("pair", "pool"), [(PAIRS[0], "threads"), (PAIRS[0], "prefork"), (PAIRS[1], "threads")]
)
def test_a_worker_told_to_stop_drains_and_another_goes_on(make_fleet, pair, pool):
    fleet = make_fleet(pair)
    fleet.simulator.set_scenario(SLOW)
    paths = fleet.put("file-{}.wav", 120)
    first = fleet.worker("--pool", pool, "-c", "4")
    assert bool(psutil.Process(first.popen.pid).children()) == (pool == "prefork")
    batch = submit_batch(fleet.client(), paths)
    wait_for(lambda: fleet.simulator.summary()["uploads_taken"] >= 10, "uploads")
    began = time.monotonic()
    assert first.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 30
    left = fleet.counts(batch)
    assert left.get("queued", 0) > 0, "the worker did not stop claiming"
    assert "submitting" not in left, "files were left in hand"
    fleet.simulator.set_scenario(QUICK)
    fleet.worker("--pool", pool, "-c", "4")
    fleet.await_counts(batch, {"succeeded": 120})
    found = audit(fleet, batch, paths)
    assert not found.faults
    assert (found.doubles, found.unknown) == (0, 0)


def test_a_killed_workers_files_are_taken_up_long_before_their_leases_end(one_fleet):
    fleet = one_fleet
    slow = {"faults": [{"on": "upload", "do": "slow", "seconds": 3}]}
    fleet.simulator.set_scenario(QUICK | slow)
    doomed = fleet.worker()
    paths = fleet.put("file-{}.wav", 80)
    batch = submit_batch(fleet.client(), paths)
    wait_for(lambda: fleet.simulator.summary()["uploads_taken"] >= 4, "uploads")
    heir = fleet.worker()
    doomed.kill()
    fleet.simulator.set_scenario(QUICK)
    fleet.await_finish(batch, within=Timings().lease * 0.7)
    assert "worker_lost" in heir.said
    assert not audit(fleet, batch, paths).faults


def test_a_second_signal_ends_a_worker_at_once(one_fleet):
    fleet = one_fleet
    forever = {"faults": [{"on": "upload", "do": "slow", "seconds": 100}]}
    fleet.simulator.set_scenario(QUICK | forever)
    worker = fleet.worker()
    submit_batch(fleet.client(), fleet.put("file-{}.wav", 5))
    wait_for(lambda: fleet.simulator.summary()["uploads_taken"], "an upload")
    worker.send(signal.SIGTERM)
    worker.await_word("worker_draining")
    assert worker.alive

    def ended() -> bool:
        worker.send(signal.SIGTERM)
        return not worker.alive

    wait_for(ended, "the worker to end", within=5)
    assert worker.popen.returncode == 128 + signal.SIGTERM


def test_a_worker_answers_celerys_own_questions(one_fleet):
    fleet = one_fleet
    node = f"{fleet.worker().name}@test"
    ask = ("-m", "celery", "-A", "worker", "inspect", "--json", "-t", "10", "-d", node)
    ping = fleet.run(*ask, "ping")
    assert json.loads(ping.stdout) == {node: {"ok": "pong"}}, ping.stderr
    known = fleet.run(*ask, "registered")
    tasks = {"ingest_batch", "submit", "poll", "notify", "tick", "tick_schedules"}
    assert {f"worker.{name}" for name in tasks} <= set(json.loads(known.stdout)[node])


def test_flower_asks_for_a_password(one_fleet):
    port = free_port()
    flower = one_fleet.celery("flower", "flower", f"--port={port}", "--address=127.0.0.1")
    address = f"http://127.0.0.1:{port}/"

    def code(path="", **headers: str) -> int | None:
        try:
            with urlopen(Request(address + path, headers=headers), timeout=5) as reply:
                return reply.status
        except HTTPError as error:
            with error:
                return error.code
        except OSError:
            assert flower.alive, flower.said
            return None

    assert wait_for(code, "flower to answer") == 401
    assert code("api/workers") == 401
    guess = base64.b64encode(b"guest:guest").decode()
    assert code(Authorization=f"Basic {guess}") == 401


@pytest.mark.parametrize("command", ["worker", "beat"])
def test_the_in_process_broker_is_refused(one_fleet, command):
    started = one_fleet.run("-m", "celery", "-A", "worker", command, INGEST_BROKER_URL="memory://")
    assert started.returncode == 2, started.stderr
    assert "INGEST_BROKER_URL" in started.stderr
    assert "Traceback" not in started.stderr


def test_a_database_without_tables_is_refused(one_fleet, databases):
    server = make_url(one_fleet.database_url).set(database="postgres")
    empty = databases(server.render_as_string(hide_password=False))
    started = one_fleet.run("-m", "celery", "-A", "worker", "worker", INGEST_DATABASE_URL=empty)
    assert started.returncode == 2, started.stderr
    assert "chatflow-ingest db upgrade" in started.stderr
    assert "Traceback" not in started.stderr


def test_missing_configuration_is_told_by_the_variables_name(one_fleet):
    started = one_fleet.run(
        "-m", "celery", "-A", "worker", "worker", INGEST_MAX_CONCURRENT_UPLOADS="many"
    )
    assert started.returncode == 2
    assert "INGEST_MAX_CONCURRENT_UPLOADS" in started.stderr
    assert "Traceback" not in started.stderr


# --- schedules -----------------------------------------------------------------------------------

SENDER = """
import sys
from celery import Celery
app = Celery(broker=sys.argv[1])
for _ in range(3):
    app.send_task("worker.tick_schedules", kwargs={"schedules": sys.argv[2], "file": "s.toml"})
"""


def test_a_due_schedule_fires_once_however_many_ticks_race(one_fleet):
    fleet = one_fleet
    fleet.put("call-{}.wav", 5)
    text = f"""
    [[schedule]]
    name = "calls"
    cron = "0 0 1 1 *"
    paths = ["{fleet.inbox}"]
    glob = "*.wav"
    stable_for = 0
    """
    workers = [fleet.worker(INGEST_LOG_LEVEL="DEBUG") for _ in range(3)]
    engine = single(parse(fleet.database_url))
    fleet.exits.callback(engine.dispose)

    def fired() -> int:
        with engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(schedule_runs)).scalar_one()

    def tick() -> None:
        """Three Beats tick three times each."""
        beats = [fleet.start(f"beat-{n}", "-c", SENDER, fleet.broker_url, text) for n in range(3)]
        assert [beat.popen.wait(60) for beat in beats] == [0, 0, 0]

    tick()
    wait_for(fired, "the schedule to be seen for the first time")
    assert fleet.simulator.summary()["uploads_received"] == 0
    with engine.begin() as connection:  # as if that had been two years ago
        long_ago = datetime.now(UTC) - timedelta(days=800)
        connection.execute(update(schedule_runs).values(due=long_ago))
    tick()
    wait_for(lambda: fleet.simulator.summary()["uploads_taken"] >= 5, "the schedule's files")
    wait_for(lambda: fired() == 2, "the firing to be remembered")
    said = "".join(worker.said for worker in workers)
    assert said.count('"schedule_fired"') == 1
    assert said.count("worker.tick_schedules") >= 18
    assert (fleet.simulator.summary()["uploads_taken"], fired()) == (5, 2)


# --- TLS -----------------------------------------------------------------------------------------


def test_a_broker_behind_tls_is_verified(one_fleet, tmp_path):
    chain, key = certificate(tmp_path)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--requirepass", "secret"]
    options += ["--tls-cert-file", str(chain), "--tls-key-file", str(key)]
    server = private_redis(tmp_path, *options, port=0, answering=port)
    server.start()
    one_fleet.exits.callback(server.kill)
    broker = f"rediss://:secret@127.0.0.1:{port}/0"
    untrusting = Connection(broker, ssl=tls_options(broker, {}))
    with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"), untrusting as unknown:
        unknown.ensure_connection(max_retries=1)
    one_fleet.environment["INGEST_BROKER_URL"] = broker
    one_fleet.environment["INGEST_BROKER_OPTIONS"] = json.dumps({"ssl_ca_certs": str(chain)})
    one_fleet.worker()
    batch = one_fleet.cli("submit", *one_fleet.put("file-{}.wav", 3)).stdout.strip()
    one_fleet.await_counts(batch, {"succeeded": 3})
