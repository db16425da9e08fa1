"""The template engine of every page, and how figures are written there."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

from worker.core.transcript import Turn, turns
from worker.core.words import counted

_HERE = Path(__file__).parent


def text_of(name: str) -> str:
    """A style or a script that stands beside the templates."""
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """The engine with its filters: it escapes whatever it is given."""
    engine = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters.update(
        moment=_moment, duration=_duration, count=_count, counted=counted, bytes=_bytes,
        words=_words, plain=_plain, turns=_turns,
    )  # fmt: skip
    return engine


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _count(number: int) -> str:
    return f"{number:,}"


def _bytes(number: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _words(state: str) -> str:
    return str(state).replace("_", " ")


def _plain(text: str) -> str:
    """A name on one line: control and direction characters as escapes, as the terminal has them."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )


def _turns(file: Any) -> list[Turn]:
    return list(turns(file.parse_content, file.parse_segments))
