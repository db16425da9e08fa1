"""The account is read as it stands: whole, at one moment, and nothing written."""

from uuid import uuid4

import pytest

from tests.contract.bench import Bench, done
from worker.cli.audit import examined
from worker.core.model.files import UploadResult, UploadState
from worker.core.model.ids import BatchId
from worker.core.verdicts import Requeued
from worker.errors import UnknownBatch


def balance(bench: Bench, batch=None):
    return examined(bench.store.audited(batch))


def test_an_account_in_the_midst_of_work_balances(bench: Bench):
    batch, files = bench.polling(3)
    bench.store.record([done(files[0])])
    bench.batch(2)
    found = balance(bench)
    assert (found.balanced, found.faults) == (True, [])
    assert found.files == {"succeeded": 1, "polling": 2, "queued": 2}
    assert found.uploads == {"accepted": 3}
    assert balance(bench, batch).files == {"succeeded": 1, "polling": 2}


def test_lost_and_repeated_uploads_are_named_apart(bench: Bench):
    bench.batch(1)
    (file,) = bench.claim().files
    bench.send([file])
    lost = UploadResult(bench.uploads[file.id], UploadState.UNKNOWN)
    bench.store.record([Requeued(file.id, file.token, wait=0.0, upload=lost)])
    bench.submit()
    found = balance(bench)
    assert found.balanced
    assert (found.counts["unknown"], found.counts["repeated"]) == (1, 1)
    assert found.unknown[0]["source"] == "/in/00000.wav"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE files SET state = 'succeeded' WHERE turn = 1",
        "UPDATE files SET lane = NULL WHERE turn = 1",
        "UPDATE files SET next_at = NULL WHERE turn = 1",
        "UPDATE files SET chatflow_file_id = 'cf-else' WHERE turn = 1",
        "UPDATE files SET upload_attempts = 9 WHERE turn = 1",
        "UPDATE batches SET next_turn = next_turn + 1",
        "UPDATE file_events SET event = 'succeeded', state = 'succeeded' WHERE event = 'submitting'",
        "DELETE FROM uploads",
    ],
)
def test_damage_is_found(bench: Bench, damage):
    bench.polling(3)
    assert balance(bench).balanced
    bench.execute(damage)
    assert not balance(bench).balanced


def test_an_unknown_batch_has_no_account(bench: Bench):
    with pytest.raises(UnknownBatch):
        balance(bench, BatchId(uuid4()))


def test_pages_do_not_lose_a_file(bench: Bench):
    batch = bench.batch(1201)
    assert balance(bench, batch).files == {"queued": 1201}
