"""`prune` on the terminal."""

import json

import pytest

from tests.cli.desk import BATCH, invoke


@pytest.fixture
def ended(filled):
    filled.cancel(BATCH)
    return filled


def test_a_dry_run_removes_nothing(ended):
    result = invoke("prune", "--older-than", "0", "--dry-run")
    assert result.exit_code == 0
    assert str(BATCH) in result.stdout
    assert "would be removed" in result.stdout
    assert ended.status(BATCH).total == 4


def test_contents_go_before_the_batch_does(ended):
    assert invoke("prune", "--older-than", "0s", "--contents-only").exit_code == 0
    assert all(result.parse_content is None for result in ended.results(BATCH))
    pruned = json.loads(invoke("prune", "--older-than", "0", "--json").stdout)
    assert pruned["batches"] == [{"batch_id": str(BATCH), "files": 4}]
    assert json.loads(invoke("status", "--json").stdout)["batches"] == []


def test_what_is_young_stays_and_nonsense_is_refused(ended):
    assert "0 batches removed" in invoke("prune", "--older-than", "30").stdout
    assert ended.status(BATCH).total == 4
    assert invoke("prune").exit_code == 2
    assert invoke("prune", "--older-than", "soon").exit_code == 2
