"""The live display of a batch: a bar with count, rate and time left, and lines below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

NARROWEST_BAR = 8


class Board:
    """What is shown at this moment; drawn again many times a second by rich."""

    def __init__(self) -> None:
        self._spinner = Spinner("dots")
        self._done, self._total = 0, 0
        self._figures: tuple[str, ...] = ()
        self._below: tuple[str, ...] = ()
        self._ended = False

    def show(self, done: int, total: int, figures: Iterable[str], below: Iterable[str]) -> None:
        """Take the newest numbers: `figures` stand beside the bar, `below` under it."""
        self._done, self._total = done, total
        self._figures, self._below = tuple(figures), tuple(below)

    def end(self) -> None:
        """What stands there now stays."""
        self._ended = True

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """The bar takes what the figures leave; where that is too little, it is left out."""
        if self._ended and not self._total:
            return  # there was nothing to show
        figures = "  ".join((f"{self._done}/{self._total}", *self._figures))
        bar = options.max_width - len(figures) - 4
        line = Table.grid(padding=(0, 1))
        if bar >= NARROWEST_BAR:
            mark = Text(" ") if self._ended else self._spinner
            line.add_row(mark, self._bar(min(bar, 60)), Text(figures, no_wrap=True))
        else:
            line.add_row(Text(figures, no_wrap=True, overflow="ellipsis"))
        below = (Text(words, no_wrap=True, overflow="ellipsis") for words in self._below)
        yield Group(line, *below)

    def _bar(self, width: int) -> ProgressBar:
        unknown = self._total == 0
        return ProgressBar(
            total=None if unknown else self._total, completed=self._done, width=width, pulse=unknown
        )
