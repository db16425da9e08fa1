"""Every query of the dashboard finds data in a fleet that runs, and the gauges outlive its workers."""

import json
import re
import socket
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.deploy_files import DEPLOY
from tests.distributed.fleet import QUICK, wait_for
from worker.client import submit_batch

SELECTOR = re.compile(r"(chatflow_ingest_[a-z_]+)(?:\{([^}]*)\})?")
EVENTFUL = QUICK | {
    "faults": [{"on": "status", "do": "http", "status": 500, "calls": [1]}],
    "rules": [{"file_name": "broken-*", "path": [1, 6], "error_msg": "no audio track"}],
}


def queries():
    text = (DEPLOY / "monitoring" / "grafana-dashboard.json").read_text(encoding="utf-8")
    return [t["expr"] for panel in json.loads(text)["panels"] for t in panel["targets"]]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def samples(port):
    """What is shown there: names with their labels; nothing while nobody listens."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            text = page.read().decode()
    except (URLError, ConnectionError):
        return []
    return [
        (sample.name, sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def missing(expressions, shown):
    """The queries that would find nothing."""
    return [each for each in expressions if not all(found(each, shown))]


def found(expression, shown):
    grouped = set(re.findall(r"\w+", ",".join(re.findall(r"by \(([^)]*)\)", expression)))) - {"le"}
    for name, conditions in SELECTOR.findall(expression):
        wanted = {
            label: set(values.split("|"))
            for label, values in re.findall(r'(\w+)(?:=|=~)"([^"]*)"', conditions)
            if values != "$profile"
        }
        yield any(
            shown_name == name
            and all(labels.get(label) in values for label, values in wanted.items())
            and grouped <= set(labels)
            for shown_name, labels in shown
        )


def test_every_query_finds_data_and_the_gauges_outlive_the_workers(one_fleet):
    fleet, port = one_fleet, free_port()
    fleet.simulator.set_scenario(EVENTFUL)
    worker = fleet.worker(INGEST_METRICS_PORT=str(port), INGEST_BREAK_AFTER="3")
    assert fleet.store.fire("nightly", fleet.store.now())  # as Beat and its worker would
    assert fleet.store.lead("tick", 0.0)
    client = fleet.client()
    good = submit_batch(client, fleet.put("file-{}.wav", 40))
    fleet.await_finish(good)
    broken = submit_batch(client, fleet.put("broken-{}.wav", 6))
    wait_for(lambda: fleet.store.overview().breakers, "the breaker to open")
    submit_batch(client, fleet.put("later-{}.wav", 3))  # open files, held by the breaker
    wait_for(lambda: fleet.store.overview().open_files, "files to wait")

    wait_for(lambda: not missing(queries(), samples(port)), "every query to find data", 40)
    worker.end()
    other = free_port()
    fleet.start("metrics", "-m", "worker.cli", "metrics", "--port", str(other))
    shown = wait_for(lambda: samples(other), "the gauges to be served")
    gauges = {name for name, _ in shown}
    assert {
        "chatflow_ingest_oldest_due_seconds", "chatflow_ingest_time_to_ready_seconds",
        "chatflow_ingest_unknown_uploads", "chatflow_ingest_schedule_firings",
        "chatflow_ingest_schedule_tick_age_seconds", "chatflow_ingest_breaker_open",
    } <= gauges  # fmt: skip
    assert fleet.counts(broken)
