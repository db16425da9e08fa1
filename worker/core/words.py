"""Numbers, rates and spans of time in words, the same on a terminal and on a page."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number and what there are so many of: `1 file`, `2 files`, `0 batches`."""
    ending = "es" if noun.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{number:,} {noun}{'' if number == 1 else ending}"


def rate_text(rate: float) -> str:
    """Files a second, or a minute when they are few."""
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def duration_text(seconds: float) -> str:
    """Seconds in the two largest units that say something."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {second:02} s"
    hours, minute = divmod(minutes, 60)
    return f"{hours} h {minute:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def range_text(low: float, high: float) -> str:
    """A range of seconds as one text."""
    least, most = duration_text(low), duration_text(high)
    return least if least == most else f"{least} to {most}"
