"""SIGINT and SIGTERM: the first one stops in good order, the second one at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE = 14.0
"""Seconds for stopping in good order; promised are 15."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def exit_status(number: int) -> int:
    """What a shell reports for a process that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


class Interruption:
    """Whether a signal came, and what to tell the user about it.

    Attributes:
        advice: a line on how to go on, for the way out that no `finally` sees.
    """

    def __init__(self) -> None:
        self.advice = ""
        self._number: int | None = None

    @property
    def came(self) -> bool:
        """Whether there was a signal."""
        return self._number is not None

    def check(self) -> None:
        """Raise the exit again, in case that a callback of some library has swallowed it."""
        if self._number is not None:
            raise SystemExit(exit_status(self._number))

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._number is not None:
            self._leave_at_once(number)
        self._number = number
        watchdog = threading.Timer(PATIENCE, self._leave_at_once, [number])
        watchdog.daemon = True
        watchdog.start()
        raise SystemExit(exit_status(number))

    def _leave_at_once(self, number: int) -> None:
        # The database is the truth and each of its transactions whole: nothing needs tidying.
        if self.advice:
            os.write(2, f"{self.advice}\n".encode())
        os._exit(exit_status(number))


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the first SIGINT or SIGTERM into a `SystemExit` in the main thread.

    A second signal ends the process at once, and so does a way out that takes longer than
    `PATIENCE`. In any other thread, where signals can't be handled, it does nothing.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    handlers: dict[signal.Signals, Callable[..., object] | int | None] = {
        number: signal.signal(number, interruption._receive) for number in SIGNALS
    }
    try:
        yield interruption
    finally:
        if not interruption.came:  # else the process is on its way out, and a second one may come
            for number, handler in handlers.items():
                signal.signal(number, handler)
