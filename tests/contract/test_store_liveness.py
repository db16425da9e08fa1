"""Leases end with their holder: who is silent for long is buried, who is not keeps what it has."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.contract.bench import CREW, PROFILE, Bench
from worker.adapters.database import SqlStore
from worker.core.lifecycle import Lane

A, B = str(uuid4()), str(uuid4())


@pytest.fixture
def two(open_stores: Callable[[], SqlStore]) -> tuple[Bench, Bench]:
    """Two workers on one database, which say that they live."""
    first, second = Bench(open_stores()), Bench(open_stores())
    assert not first.store.attend(A, None, "here", 60)
    assert not second.store.attend(B, None, "there", 60)
    return first, second


def claim(bench: Bench):
    return bench.store.claim(PROFILE, CREW, Lane.SUBMIT, 10, 600)


def test_what_a_silent_worker_holds_is_taken_up_at_once(two: tuple[Bench, Bench]):
    dead, living = two
    living.batch(3)
    held = claim(dead)
    assert len(held.files) == 3
    dead.outlive("attendants", "until", f"holder = '{A}'")
    assert living.store.attend(B, None, "there", 60)
    assert not claim(living).files
    assert living.store.bury() == [A]
    taken = claim(living)
    assert {file.id for file in taken.files} == {file.id for file in held.files}
    assert {file.deaths for file in taken.files} == {1}
    dead.store.renew([held.token], 600)  # it was only frozen, and is fenced
    dead.store.hand_back([(file.id, held.token) for file in held.files])
    assert not claim(dead).files
    assert living.store.bury() == []


def test_nothing_is_taken_from_who_says_that_it_lives(two: tuple[Bench, Bench]):
    first, second = two
    first.batch(3)
    assert len(claim(first).files) == 3
    assert second.store.bury() == []
    assert not claim(second).files


def test_a_silent_workers_share_of_the_uploads_is_free(two: tuple[Bench, Bench]):
    dead, living = two
    assert dead.store.share(PROFILE, A, 8, 8, 600) == 8
    assert living.store.share(PROFILE, B, 0, 8, 600) == 0
    dead.outlive("attendants", "until", f"holder = '{A}'")
    assert living.store.bury() == [A]
    assert living.store.share(PROFILE, B, 0, 8, 600) == 8


def test_a_run_that_is_silent_loses_nothing_to_workers(two: tuple[Bench, Bench]):
    _, living = two
    living.store.attend("run", CREW, "here", 60)
    living.outlive("attendants", "until", "holder = 'run'")
    assert living.store.bury() == ["run"]
