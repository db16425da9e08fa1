"""Whatever a seed does to workers, service, broker and database, every promise is kept.

`make simulate SEEDS=10000` runs more of them; `make simulate SEEDS=1 FIRST=47` tells the story of one.
"""

import os
import subprocess
import sys

import pytest

from tests.simulation.run import simulate

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "1000"))
AT_ONCE = 50
TROUBLES = (
    "killed", "frozen", "told to stop", "the database goes away", "answer is lost", "busy",
    "reply lost", "credentials are refused", "upload_unknown", "profile_frozen",
)  # fmt: skip


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_no_seed_finds_a_broken_promise(first, shelf):
    missed = set(TROUBLES)
    for seed in range(first, first + AT_ONCE):
        outcome = simulate(seed, shelf)
        story = "\n".join([f"seed {seed}", *outcome.story, *outcome.faults])
        assert not outcome.faults, story
        missed = {trouble for trouble in missed if trouble not in story}
    assert not missed, "no seed met this trouble"


@pytest.mark.parametrize("seed", [8, 47])
def test_the_quick_connection_tells_sqlalchemys_own_story(seed, shelf, monkeypatch):
    quick = simulate(seed, shelf)
    monkeypatch.setattr(shelf, "quick", None)
    assert simulate(seed, shelf) == quick


def test_a_seed_tells_the_same_story_in_every_process(shelf):
    outcome = simulate(8, shelf)
    command = [sys.executable, "-m", "tests.simulation", "1", "8"]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[:-1] == ["seed 8", *outcome.story]
    assert len(outcome.story) > 10
