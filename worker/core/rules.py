"""What one profile is configured to do, as the steps need it; durations are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from worker.core.lifecycle import SettleAt
from worker.core.timings import Timings

CLAIM_AHEAD = 0.25
"""How long before it is due a file may be taken in hand to be polled: it is asked for on time, and
few claims serve many files."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One profile's limits and choices.

    Rates are calls a second, None for no limit; the ceiling and the rates hold over all workers.
    """

    profile: str
    settle_at: SettleAt = SettleAt.PARSE
    flow_failed_succeeds: bool = False  # status 8 with contents is a success, see `outcome`
    poll_deadline: float = 3600.0
    max_upload_attempts: int = 5
    on_unknown_upload: Literal["resubmit", "fail"] = "resubmit"
    max_concurrent_uploads: int = 8
    rate_limit: float | None = None
    poll_rate_limit: float | None = None
    poll_price: float = 1.0
    unreachable_after: float = 180.0
    reuse_within: float | None = None
    break_after: int | None = None
    timings: Timings = field(default_factory=Timings)
