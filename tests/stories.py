"""Holds a file's stored events against the tables of states."""

from collections.abc import Iterable
from typing import Any

from worker.core.lifecycle import FileEventName, FileState, ForbiddenTransition, check_step


def story_faults(events: Iterable[Any], now: FileState) -> list[str]:
    """What is wrong with a file's events, the oldest first, when it stands in the state `now`.

    Each must be able to follow the one before it, and together they must lead to where it is.
    """
    state, faults = FileState.QUEUED, []
    for event in events:
        reached = FileState(event.state)
        try:
            check_step(state, FileEventName(event.event), reached)
        except (ForbiddenTransition, ValueError) as fault:
            faults.append(f"event {event.event}: {fault}")
        state = reached
    if state is not now:
        faults.append(f"its events lead to {state}, and it is {now}")
    return faults
