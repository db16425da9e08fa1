"""`audit` on the terminal: exit code, JSON, names made harmless."""

import json

from tests.cli.desk import BATCH, invoke
from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId, fleet


def test_what_does_not_balance_is_named(filled):
    result = invoke("audit")
    assert result.exit_code == 1  # the desk has marked files as polling without any upload
    assert "NOT balanced" in result.stdout
    assert "no upload of it was accepted" in result.stdout
    found = json.loads(invoke("audit", "latest", "--json").stdout)
    assert found["balanced"] is False
    assert {fault["source"] for fault in found["faults"]} >= {"/data/one.wav", "/data/two.pdf"}


def test_a_sound_account_balances(store):
    store.create_batch(NewBatch(BATCH, "default", fleet("default")))
    store.add_files(BatchId(BATCH), ["/a\x1b[2J", "/b"])
    for command in (["audit"], ["audit", "latest"]):
        result = invoke(*command)
        assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "balanced")
    found = json.loads(invoke("audit", "--json").stdout)
    assert (found["balanced"], found["files"], found["states"]) == (True, 2, {"queued": 2})
