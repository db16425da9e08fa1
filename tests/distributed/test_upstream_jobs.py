"""How upstream jobs hand in batches and hear of their end."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from kombu import Connection
from kombu import Queue as BrokerQueue
from standardwebhooks import Webhook

from tests.distributed.audit import audit
from tests.distributed.fleet import QUICK
from tests.pages import REFERENCE
from worker import client
from worker.client import BATCH_NAMESPACE, batch_id_for, submit_batch

SENDER = """
import json, sys
sys.modules["worker"] = None  # an upstream job does not have this package
from celery import Celery
app = Celery(broker=sys.argv[1])
print(app.send_task("worker.ingest_batch", kwargs=json.loads(sys.argv[2])).id)
"""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def send(fleet, **message: Any) -> UUID:
    done = fleet.run("-c", SENDER, fleet.broker_url, json.dumps(message), PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    return UUID(done.stdout.strip())


def test_a_bare_celery_client_hands_in_by_name_and_knows_the_batch(fleet):
    paths = fleet.put("file-{}.wav", 12)
    fleet.worker()
    batch = send(fleet, files=paths, inputs={"reason": "nightly"})
    fleet.await_counts(batch, {"succeeded": 12})
    assert not audit(fleet, batch, paths).faults
    fields = [entry["fields"] for entry in fleet.simulator.ledger()["uploads"]]
    assert {each["inputs"] for each in fields} == {'{"reason": "nightly"}'}


def test_the_same_external_key_is_one_batch_and_brings_only_new_files(one_fleet):
    fleet = one_fleet
    paths = fleet.put("file-{}.wav", 6)
    fleet.worker()
    for part in (paths[:4], paths[2:]):
        send(fleet, files=part, external_key="nightly", profile="default")
    batch = batch_id_for("default", "nightly")
    fleet.await_counts(batch, {"succeeded": 6})
    assert not audit(fleet, batch, paths).faults
    assert fleet.simulator.summary()["uploads_taken"] == 6
    assert batch == uuid5(BATCH_NAMESPACE, "default/nightly")


def test_concurrent_calls_with_one_external_key_make_one_batch(fleet):
    paths = fleet.put("file-{}.wav", 20)
    workers = [fleet.worker(ready=False) for _ in range(2)]
    app = fleet.client()
    ids = {submit_batch(app, paths, external_key="rush") for _ in range(10)}
    assert ids == {batch_id_for("default", "rush")}
    for worker in workers:
        worker.await_word('"worker_ready"')
    batch = ids.pop()
    fleet.await_counts(batch, {"succeeded": 20})
    assert not audit(fleet, batch, paths).faults
    assert fleet.simulator.summary()["doubles"] == 0


def test_a_batch_of_many_messages_finishes_after_the_last_of_them(one_fleet, monkeypatch):
    fleet = one_fleet
    monkeypatch.setattr(client, "FILES_PER_MESSAGE", 7)
    paths = fleet.put("file-{}.wav", 30)
    app = fleet.client()
    held = []
    real = app.send_task

    def hold_one(task: str, **options: Any) -> Any:
        if options["kwargs"]["part"] == 3:
            held.append((task, options))
            return None
        return real(task, **options)

    monkeypatch.setattr(app, "send_task", hold_one)
    fleet.worker()
    batch = submit_batch(app, paths)
    fleet.await_counts(batch, {"succeeded": 23})
    assert fleet.store.status(batch).finished_at is None
    task, options = held.pop()
    real(task, **options)
    fleet.await_counts(batch, {"succeeded": 30})
    fleet.await_finish(batch)
    assert not audit(fleet, batch, paths).faults


def test_the_end_of_a_batch_is_told_by_a_task_in_the_queue_it_named(fleet):
    """One that is there already is left as it is: RabbitMQ refuses to declare it otherwise."""
    fleet.worker()
    kind = {"x-queue-type": "quorum"} if fleet.broker_url.startswith("amqp") else None
    name = f"told-{uuid4().hex[:8]}"
    made = BrokerQueue(name, routing_key=name, queue_arguments=kind)
    missing = BrokerQueue(f"{name}-too", routing_key=f"{name}-too")
    with Connection(fleet.broker_url) as connection:
        made(connection.default_channel).declare()
        for queue in (made, missing):
            paths = fleet.put(f"{queue.name}-{{}}.wav", 3)
            told = {"task": "upstream.done", "queue": queue.name}
            batch = submit_batch(fleet.client(), paths, notify=told)
            fleet.await_finish(batch)
            heard = connection.SimpleQueue(queue)
            message = heard.get(timeout=30)
            message.ack()
            (payload,), _, _ = message.payload
            assert message.headers["task"] == "upstream.done"
            assert payload["type"] == "batch.finished"
            assert payload["data"] == fleet.told(batch)
            assert payload["data"]["counts"] == {"succeeded": 3}
            heard.close()
            heard.queue.delete()


@pytest.fixture
def receiver() -> Iterator[tuple[str, "Queue[tuple[dict[str, str], bytes]]"]]:
    """Takes webhooks; the first one is turned away."""
    got: Queue[tuple[dict[str, str], bytes]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.put((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_end_of_a_batch_is_told_by_a_signed_webhook(bare_fleet, receiver):
    fleet, (url, got) = bare_fleet, receiver
    paths = fleet.put("file-{}.wav", 3)
    fleet.worker(INGEST_WEBHOOK_SECRET=SECRET, INGEST_WEBHOOK_ALLOW=url)
    batch = submit_batch(fleet.client(), paths, notify={"url": f"{url}done"})
    headers, body = got.get(timeout=30)
    payload = Webhook(SECRET).verify(body, {name.lower(): text for name, text in headers.items()})
    assert payload == json.loads(body)
    assert (payload["type"], payload["data"]) == ("batch.finished", fleet.told(batch))


def test_the_script_of_the_reference_hands_in_waits_and_reads(one_fleet):
    fleet = one_fleet
    text = REFERENCE.read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(# calls\.py.*?)```", text, re.DOTALL)
    (fleet.folder / "calls.py").write_text(script)
    fleet.worker()
    done = fleet.run("calls.py", "nightly", *fleet.put("file-{}.wav", 7))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["finished {'succeeded': 7}", "7"]


def test_submit_status_results_retry_and_cancel_at_the_command_line(one_fleet):
    fleet = one_fleet
    broken = {"file_name": "broken-*", "path": [1, 6], "error_msg": "no audio track"}
    fleet.simulator.set_scenario(QUICK | {"rules": [broken]})
    paths = [*fleet.put("good-{}.wav", 4), *fleet.put("broken-{}.wav", 2)]
    done = fleet.cli("submit", *paths, "--external-key", "by hand")
    assert done.returncode == 0, done.stderr
    batch = done.stdout.strip()
    assert UUID(batch) == batch_id_for("default", "by hand")
    assert fleet.counts(batch) == {"queued": 6}
    fleet.worker()
    fleet.await_counts(batch, {"succeeded": 4, "failed": 2})
    fleet.await_finish(batch)
    lines = fleet.results(batch)
    assert {line["error_message"] for line in lines.values()} == {None, "no audio track"}
    fleet.simulator.set_scenario(QUICK)
    assert fleet.cli("retry", batch, "--only", "failed").returncode == 0
    fleet.await_counts(batch, {"succeeded": 6})
    never = {"kind": "fixed", "seconds": 600}
    fleet.simulator.set_scenario(QUICK | {"time_to_ready": never})
    second = fleet.cli("submit", *fleet.put("late-{}.wav", 3)).stdout.strip()
    fleet.await_counts(second, {"polling": 3})
    assert fleet.cli("cancel", second).returncode == 0
    told = fleet.told(second)
    assert (told["state"], told["counts"]) == ("cancelled", {"cancelled": 3})
