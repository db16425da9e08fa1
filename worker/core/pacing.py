"""How long to wait before the next attempt: tenacity's strategies as functions of a count.

A count lives in the database, so any process can go on where another one stopped; chance stays
inside tenacity. All results are seconds.

Full jitter (a wait anywhere between nothing and the growing limit) spreads callers that failed
together; where hurrying must be ruled out, half of the limit is fixed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from tenacity import RetryCallState, wait_exponential, wait_random, wait_random_exponential

if TYPE_CHECKING:
    from tenacity import BaseRetrying
    from tenacity.wait import wait_base

DIALOG_ATTEMPTS = 5
"""How often in a row a dialog is tried before the service counts as unreachable."""

LONGEST_RETRY_AFTER = 3600.0
"""A Retry-After beyond this is taken for a mistake of the service, and shortened to it."""

_call = wait_random_exponential(multiplier=1, max=30)
_upload = wait_exponential(multiplier=0.5, max=30) + wait_random_exponential(multiplier=0.5, max=30)
_dialog = wait_exponential(multiplier=0.25, max=4) + wait_random_exponential(multiplier=0.25, max=4)
_freeze = wait_exponential(multiplier=1, max=30) + wait_random_exponential(multiplier=1, max=30)


def call_backoff(failures: int) -> float:
    """The wait after so many failed calls in a row (1 for the first): full jitter, 30 s at most."""
    return _after(_call, failures)


def upload_backoff(attempts: int) -> float:
    """The wait after so many uploads that came to nothing: from 0.5 s, growing to 60 s at most."""
    return _after(_upload, attempts)


def dialog_backoff(failures: int) -> float:
    """The wait before a dialog is opened again after so many failures: 8 s at most.

    After `DIALOG_ATTEMPTS` failures it should not be opened again, but the profile frozen.
    """
    return _after(_dialog, failures)


def freeze_for(strikes: int, retry_after: float | None) -> float:
    """How long to hold a profile's calls after so many freezes in a row (0 for the first).

    What the service asked for is kept to, up to `LONGEST_RETRY_AFTER`, and up to a tenth is
    added, so that a fleet does not come back as one. Otherwise the wait grows from 1 s to
    60 s at most.
    """
    if retry_after is None or not retry_after > 0:
        return _after(_freeze, strikes + 1)
    asked = min(retry_after, LONGEST_RETRY_AFTER)
    return asked + _after(wait_random(0, min(asked / 10, 10)), strikes + 1)


def poll_wait(polls: int, age: float) -> float:
    """The wait before the next status call when nothing better is known.

    It starts at 1 s and grows by half with each of the `polls` so far, up to 5 s, or a tenth of
    the file's `age` in seconds once that is more, and never beyond 60 s.
    """
    return _growing(polls + 1, min(max(5.0, age / 10), 60.0) if math.isfinite(age) else 60.0)


@lru_cache(maxsize=256)  # asked for at every call, mostly for a young file and the lowest cap
def _growing(attempt: int, cap: float) -> float:
    return _after(wait_exponential(multiplier=1, exp_base=1.5, max=cap), attempt)


def _after(wait: wait_base, attempt: int) -> float:
    """Ask a strategy outside of tenacity's loop: the attempt's number is all that it needs."""
    state = RetryCallState(cast("BaseRetrying", None), fn=None, args=(), kwargs={})
    state.attempt_number = max(1, attempt)
    return float(wait(state))
