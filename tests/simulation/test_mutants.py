"""The simulation itself is tested: known bugs are put in, and it has to find each of them.

A mutant replaces a promise of the store, or a decision, by one that is not kept.
"""

from dataclasses import replace

import pytest
from sqlalchemy import select, text

from tests.simulation.run import simulate
from worker.adapters.database import SqlStore
from worker.adapters.database.tables import files
from worker.core import submission
from worker.steps import grouping, sweep

WITHIN = 100
"""Seeds within which each bug has to be found; most are found within ten."""


class NoFence(SqlStore):
    """Writes a verdict whoever holds the file by now."""

    def record(self, verdicts, sending=()):
        columns = select(files.c.id, files.c.lease_token)
        tokens = self._database.read(lambda tx: dict(tx.run(columns).all()))
        held = [replace(v, token=tokens[v.file]) for v in verdicts]
        return super().record(held, sending)


class NoSent(SqlStore):
    """Lets uploads go out that the ledger does not hold as `sent`."""

    def record(self, verdicts, sending=()):
        return super().record(verdicts) | {each.upload for each in sending}


class AnybodyMaySend(SqlStore):
    """Writes `sent` for who has lost the file."""

    def begin_uploads(self, loads):
        super().begin_uploads(loads)
        return {intent.id for load in loads for intent in load.intents}

    def record(self, verdicts, sending=()):
        return super().record(verdicts, sending) | {each.upload for each in sending}


class LeasesNotKept(SqlStore):
    """Lets a claim take what others hold."""

    def claim(self, profile, crew, lane, limit, lease):
        steal = "UPDATE files SET next_at = created_at WHERE lease_token IS NOT NULL"
        self._database.write(lambda tx: tx.run(text(steal)))
        return super().claim(profile, crew, lane, limit, lease)


class NeverRenewed(SqlStore):
    """Has leases run out under who works on."""

    def renew(self, tokens, lease):
        pass


class SharesNotShared(SqlStore):
    """Gives every worker the whole of the uploads in flight."""

    def share(self, profile, holder, busy, ceiling, ttl):
        super().share(profile, holder, busy, ceiling, ttl)
        return ceiling


class SharesKept(SqlStore):
    """Forgets nothing of a share."""

    def share(self, profile, holder, busy, ceiling, ttl):
        return super().share(profile, holder, busy, ceiling, 1e6)

    def give_up_share(self, profile, holder):
        pass


class FinishedEarly(SqlStore):
    """Finishes a batch while its files are open."""

    def unfinished(self):
        self._database.write(lambda tx: tx.run(text(
            "UPDATE batches SET state = 'finished', finished_at = created_at WHERE state = 'running'"
            " AND (SELECT count(*) FROM files WHERE batch_id = batches.id AND state = 'polling') > 1"
        )))  # fmt: skip
        return super().unfinished()


class ToldTwice(SqlStore):
    """Writes a batch's notification again."""

    AGAIN = (
        "INSERT INTO outbox (batch_id, message_id, target, payload, attempts, created_at)"
        " SELECT batch_id, 'again', target, payload, 0, created_at FROM outbox"
    )

    def finish(self, batches):
        finished = super().finish(batches)
        if finished:
            self._database.write(lambda tx: tx.run(text(self.AGAIN)))
        return finished


class WrongContents(SqlStore):
    """Keeps the contents of one file with another."""

    def record(self, verdicts, sending=()):
        found = [v.contents for v in verdicts if v.contents is not None]
        turned = iter(found[1:] + found[:1])
        mixed = [v if v.contents is None else replace(v, contents=next(turned)) for v in verdicts]
        return super().record(mixed, sending)


CALM = {"kill": 0.0, "freeze": 0.0, "store_away": 0.0, "store_answer_lost": 0.0}
STORES = {
    NoFence: {},
    NoSent: {},
    AnybodyMaySend: {},
    LeasesNotKept: {},
    NeverRenewed: {**CALM, "slow": 0.5},
    SharesNotShared: {**CALM, "slow": 0.3},
    SharesKept: {},
    FinishedEarly: {},
    ToldTwice: {},
    WrongContents: {},
}
"""The bugs, and what helps to meet them soon."""


def found_after(shelf, **given):
    """The first seed that finds something."""
    return next((seed for seed in range(WITHIN) if simulate(seed, shelf, **given).faults), None)


@pytest.mark.parametrize("store", STORES)
def test_a_store_that_breaks_its_promise_is_found(store, shelf):
    assert found_after(shelf, store=store, **STORES[store]) is not None


def _forgotten(_file, _rules):
    """Nothing is left over of a dead worker's upload."""


def _asleep(*_, **__):
    """Nobody is woken."""


async def _once(function, *args):
    """A reply that can't be written at once is dropped."""
    return await grouping.to_thread.run_sync(function, *args)


@pytest.mark.parametrize(
    ("where", "name", "wrong"),
    [
        (submission, "from_ledger", _forgotten),
        (sweep.Sweep, "_wake", _asleep),
        (grouping, "persistently", _once),
    ],
)
def test_a_wrong_decision_is_found(where, name, wrong, shelf, monkeypatch):
    monkeypatch.setattr(where, name, wrong)
    assert found_after(shelf) is not None
