"""Alerts and dashboard ask only for metrics and labels that the workers show."""

import json
import re

import pytest
import yaml

from tests.deploy import deploy_files
from worker.core.lifecycle import FileState, Lane
from worker.errors import UploadUnknown

MONITORING = deploy_files.DEPLOY / "monitoring"
SELECTOR = re.compile(r"(chatflow_ingest_[a-z_]+)(?:\{([^}]*)\})?")
KNOWN_VALUES = {
    "outcome": {UploadUnknown.code},
    "lane": set(Lane),
    "quantile": {"0.5", "0.95"},
}
# By metric: a gauge of files by their state, one of profiles by theirs.
STATES = {
    "chatflow_ingest_files": set(FileState),
    "chatflow_ingest_files_ended_total": {state for state in FileState if state.is_terminal},
    "chatflow_ingest_profile_state": {"open", "frozen", "paused"},
}


def alerts():
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def dashboard():
    panels = json.loads((MONITORING / "grafana-dashboard.json").read_text(encoding="utf-8"))[
        "panels"
    ]
    return {f"panel {p['id']}{t['refId']}": t["expr"] for p in panels for t in p["targets"]}


EXPRESSIONS = alerts() | dashboard()


def source_of_metrics():
    return "".join(
        file.read_text(encoding="utf-8") for file in (deploy_files.ROOT / "worker").rglob("*.py")
    )


def test_there_are_alerts_and_panels():
    assert len(alerts()) >= 6
    assert len(dashboard()) >= 10


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_metric_that_is_asked_for_is_shown(where):
    shown = set(re.findall(r'"(chatflow_ingest_[a-z_]+)"', source_of_metrics()))
    asked = {name.removesuffix("_bucket") for name, _ in SELECTOR.findall(EXPRESSIONS[where])}

    assert asked
    assert asked <= shown


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_value_that_is_asked_for_occurs(where):
    for metric, labels in SELECTOR.findall(EXPRESSIONS[where]):
        for label, values in re.findall(r'(\w+)(?:=|=~|!=|!~)"([^"]*)"', labels):
            if label == "profile":
                continue
            known = STATES[metric] if label == "state" else KNOWN_VALUES[label]
            assert set(values.split("|")) <= known


def test_every_worker_shows_the_fleets_gauges_so_they_are_never_summed_over_instances():
    gauges = (
        "chatflow_ingest_files{", "oldest_due", "profile_state", "outbox_pending", "outbox_dead",
        "time_to_ready", "unknown_uploads", "retrying_files", "schedule_", "breaker_open", "_workers",
    )  # fmt: skip
    of_gauges = {w: e for w, e in EXPRESSIONS.items() if any(g in e for g in gauges)}

    assert of_gauges
    assert [w for w, e in of_gauges.items() if "max" not in e and "absent" not in e] == []
