"""How long to wait before the next attempt: tenacity's strategies as functions of a count.

A count lives in the database, so any process can go on where another one stopped; chance stays
inside tenacity. All results are seconds.

Full jitter (a wait anywhere between nothing and the growing limit) spreads callers that failed
together; where hurrying must be ruled out, half of the limit is fixed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from tenacity import RetryCallState, wait_exponential, wait_random, wait_random_exponential

from worker.core.retry_after import LONGEST_WAIT

if TYPE_CHECKING:
    from tenacity.wait import wait_base

DIALOG_ATTEMPTS = 5
"""How often in a row a dialog is tried before the service counts as unreachable."""

_call = wait_random_exponential(multiplier=1, max=30)
_upload = wait_exponential(multiplier=0.5, max=30) + wait_random_exponential(multiplier=0.5, max=30)
_dialog = wait_exponential(multiplier=0.25, max=4) + wait_random_exponential(multiplier=0.25, max=4)
_LOG_GROWTH = math.log(1.5)
_freeze = wait_exponential(multiplier=1, max=30) + wait_random_exponential(multiplier=1, max=30)


def call_backoff(failures: int) -> float:
    """The wait after so many failed calls in a row (1 for the first): full jitter, 30 s at most."""
    return after(_call, failures)


def upload_backoff(attempts: int) -> float:
    """The wait after so many uploads that came to nothing: from 0.5 s, growing to 60 s at most."""
    return after(_upload, attempts)


def dialog_backoff(failures: int) -> float:
    """The wait before a dialog is opened again after so many failures: 8 s at most.

    After `DIALOG_ATTEMPTS` failures it should not be opened again, but the profile frozen.
    """
    return after(_dialog, failures)


def freeze_for(strikes: int, retry_after: float | None) -> float:
    """How long to hold a profile's calls after so many freezes in a row (0 for the first).

    What the service asked for is kept to, up to `LONGEST_WAIT`, and up to a tenth is
    added, so that a fleet does not come back as one. Otherwise the wait grows from 1 s to
    60 s at most.
    """
    if retry_after is None or not retry_after > 0:
        return after(_freeze, strikes + 1)
    asked = min(retry_after, LONGEST_WAIT)
    return asked + after(wait_random(0, min(asked / 10, 10)), strikes + 1)


def poll_wait(polls: int, age: float) -> float:
    """The wait before the next status call when nothing better is known.

    It starts at 1 s and grows by half with each of the `polls` so far, up to 5 s, or a tenth of
    the file's `age` in seconds once that is more, and never beyond 60 s. The age is that of the
    newest upload (0 when nobody knows it): no more polls count than it has seen by this schedule,
    for those before were about another upload.
    """
    if not 0 < age < math.inf:
        return _growing(polls + 1, 60.0 if age > 0 else 5.0)
    seen = round(math.log1p(age / 2) / _LOG_GROWTH)  # waits of 1, 1.5, 2.25, ... make up the age
    return _growing(min(polls, seen) + 1, min(max(5.0, age / 10), 60.0))


@lru_cache(maxsize=256)  # asked for at every call, mostly for a young file and the lowest cap
def _growing(attempt: int, cap: float) -> float:
    return after(wait_exponential(multiplier=1, exp_base=1.5, max=cap), attempt)


def after(wait: wait_base, attempt: int) -> float:
    """Ask a strategy outside of tenacity's loop: the attempt's number is all that it needs."""
    state = RetryCallState(cast("Any", None), fn=None, args=(), kwargs={})
    state.attempt_number = max(1, attempt)
    return float(wait(state))
