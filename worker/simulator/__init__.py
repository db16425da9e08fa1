"""A stand-in for the chatflow service, for demos, tests and benches; see README.md beside this.

It speaks the three endpoints, follows a scenario, shows faults on demand, and keeps a ledger of
what it was sent.
"""

from worker.simulator.samples import DEMO_SCENARIO, write_samples
from worker.simulator.scenario import Scenario, load_scenario
from worker.simulator.server import RunningSimulator, Simulator, running, serve

__all__ = [
    "DEMO_SCENARIO",
    "RunningSimulator",
    "Scenario",
    "Simulator",
    "load_scenario",
    "running",
    "serve",
    "write_samples",
]
