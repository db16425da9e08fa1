"""The store beside a model in plain Python: any calls in any order, and both agree after each.

Each rule is a call that some worker, user or sweep may make at any time: too late, twice, with a
lease that somebody else has by now. The clock is ours, and stands still within a call. In the usual
run it is a matter of seconds; MODEL_EXAMPLES and MODEL_STEPS make it long:

    MODEL_EXAMPLES=10000 MODEL_STEPS=100 pytest --timeout=0 tests/contract/test_store_machine.py
"""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.model.fleet import Fleet
from tests.contract.model.hand_in import HandIn
from tests.contract.model.work import Work
from tests.contract.model.world import World
from worker.adapters.database import SqlStore

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "20"))
STEPS = int(os.environ.get("MODEL_STEPS", "50"))


def test_the_store_does_what_the_model_does(store: SqlStore):
    class Machine(HandIn, Work, Fleet):
        world = World(store)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            report_multiple_bugs=False,
            phases=set(Phase) - {Phase.explain},
            suppress_health_check=list(HealthCheck),
        ),
    )
