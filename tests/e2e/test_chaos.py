"""The demonstration that kills its own runs: some deaths, and a balanced account."""

from worker.cli.chaos import chaos


def test_runs_that_are_killed_leave_a_balanced_account(tmp_path):
    assert chaos(tmp_path, copies=2, kills=2) == 0
