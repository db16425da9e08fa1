"""What is done again and again: no error ends it, and none is kept quiet."""

from __future__ import annotations

import anyio
import pytest

from tests.fakes import Events
from worker.errors import ConfigurationError, StoreUnavailable
from worker.steps.lasting import keep_doing
from worker.steps.stopping import Stopping

pytestmark = pytest.mark.anyio


class Trouble:
    """Goes wrong in each of the ways given, then tells that it is well."""

    def __init__(self, *errors):
        self._errors = list(errors)
        self.stop = Stopping()

    async def __call__(self):
        if self._errors:
            raise self._errors.pop(0)
        self.stop.set()


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (StoreUnavailable("restarting"), "store_unavailable"),
        (ConfigurationError("no profile"), "step_failed"),
        (ValueError("nobody thought of this"), "step_failed"),
        (ExceptionGroup("several", [KeyError("one")]), "step_failed"),
    ],
)
async def test_an_error_is_reported_and_survived(error, event):
    work, telemetry = Trouble(error, error), Events()
    with anyio.fail_after(10):
        await keep_doing("sweep", work, every=0.0, telemetry=telemetry, stop=work.stop)
    assert telemetry.names == [event, event]


async def test_it_ends_when_it_is_cancelled():
    with anyio.move_on_after(0.01) as scope:
        await keep_doing("sweep", anyio.sleep_forever, every=0.0, telemetry=Events())
    assert scope.cancelled_caught
