"""deploy/OPERATIONS.md says what is the case: its alerts, settings, figures, links and anchors."""

import re

import pytest

from tests import pages, readme_blocks
from tests.deploy.test_monitoring import alerts
from worker.settings.variables import variables

TEXT = pages.OPERATIONS.read_text(encoding="utf-8")
RESULTS = (pages.ROOT / "tests" / "bench" / "RESULTS.md").read_text(encoding="utf-8")


def test_every_alert_has_its_first_step():
    assert set(re.findall(r"^\| `(Ingest\w+)` \|", TEXT, re.MULTILINE)) == set(alerts())


def test_the_settings_that_it_names_exist():
    known = {name for name, *_ in variables()}

    assert set(re.findall(r"\b(?:CHATFLOW|INGEST)_[A-Z_]+\b", TEXT)) <= known


def test_the_metrics_that_it_names_exist():
    shown = readme_blocks.metrics()

    assert [m for m in re.findall(r"chatflow_ingest_\w+", TEXT) if f"`{m}`" not in shown] == []


@pytest.mark.parametrize("figure", ["2.61", "127.8", "1.43", "0.90", "1.5", "131", "3.2", "1.8"])
def test_its_figures_were_measured(figure):
    """The page rounds them; one that is measured anew is to be written there anew."""
    assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d])", RESULTS)
