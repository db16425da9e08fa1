"""Credentials are convicted by a dialog, and by nothing else."""

from __future__ import annotations

import anyio
import pytest

from tests.fakes import FakeService
from worker.errors import (
    CredentialsRefused,
    Redirected,
    ServiceFault,
    UploadRefused,
)
from worker.steps.credential_trial import TRIAL_EVERY, CredentialTrial

pytestmark = pytest.mark.anyio

REFUSED = UploadRefused("HTTP 403", code="http_403", blames_credentials=True)


def dialogs(*troubles):
    """A service whose dialogs meet these troubles, "" for none."""
    service = FakeService()
    service.meet("open", *troubles)
    return service


async def test_an_error_that_blames_nobody_opens_no_dialog():
    service = dialogs()
    error = ServiceFault("HTTP 500")
    assert await CredentialTrial(service.open).judge(error) is error
    assert service.calls["open"] == 0


@pytest.mark.parametrize(
    ("trouble", "refusal"), [("unauthorized", CredentialsRefused), ("moved", Redirected)]
)
async def test_a_dialog_that_is_refused_too_convicts(trouble, refusal):
    judged = await CredentialTrial(dialogs(trouble).open).judge(REFUSED)
    assert isinstance(judged, refusal)


@pytest.mark.parametrize("trouble", ["", "no node", "broken", "unreachable"])
async def test_without_a_refused_dialog_the_error_is_the_calls_own(trouble):
    assert await CredentialTrial(dialogs(trouble).open).judge(REFUSED) is REFUSED


@pytest.mark.parametrize("trouble", ["", "unauthorized"])
async def test_calls_that_are_refused_together_share_one_dialog(trouble):
    service = dialogs(trouble)
    trial = CredentialTrial(service.open)
    judged = []

    async def call():
        judged.append(await trial.judge(REFUSED))

    service.meanwhile("open", lambda: anyio.sleep(1.0))
    async with anyio.create_task_group() as tasks:
        for _ in range(9):
            tasks.start_soon(call)
    assert len(judged) == 9
    assert len(set(judged)) == 1
    assert isinstance(judged[0], CredentialsRefused) == bool(trouble)
    assert service.calls["open"] == 1


async def test_after_a_while_there_is_another_trial():
    trial = CredentialTrial(dialogs("", "unauthorized").open)
    assert await trial.judge(REFUSED) is REFUSED
    await anyio.sleep(TRIAL_EVERY - 1.0)
    assert await trial.judge(REFUSED) is REFUSED
    await anyio.sleep(1.0)
    assert isinstance(await trial.judge(REFUSED), CredentialsRefused)


async def test_a_dialog_that_went_well_since_clears_the_credentials():
    trial = CredentialTrial(dialogs("unauthorized").open)
    await trial.judge(REFUSED)
    trial.acquit()
    assert await trial.judge(REFUSED) is REFUSED
