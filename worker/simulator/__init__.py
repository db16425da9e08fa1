"""A stand-in for the chatflow service, for demos, tests and benches; see README.md beside this.

It speaks the three endpoints, follows a scenario, shows faults on demand, and keeps a ledger of
what it was sent.
"""

from worker.simulator.replay import Replay
from worker.simulator.samples import DEMO_SCENARIO, write_samples
from worker.simulator.scenario import Scenario, load_scenario
from worker.simulator.server import (
    RunningSimulator,
    Simulator,
    replaying,
    running,
    serve,
    serve_until_stopped,
)

__all__ = [
    "DEMO_SCENARIO",
    "Replay",
    "RunningSimulator",
    "Scenario",
    "Simulator",
    "load_scenario",
    "replaying",
    "running",
    "serve",
    "serve_until_stopped",
    "write_samples",
]
