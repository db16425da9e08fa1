"""The one signal that ends work early: claim nothing more, bring what is in hand to an end."""

from __future__ import annotations

import anyio


class Stopping:
    """Set once, from the event loop's thread; waited for by every shift."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Stop claiming from now on."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    async def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until the signal."""
        with anyio.move_on_after(seconds):
            await self._event.wait()
