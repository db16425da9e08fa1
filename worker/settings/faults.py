"""What pydantic finds wrong with a configuration, as lines for whoever wrote it."""

from __future__ import annotations

from pydantic import ValidationError


def fault_lines(error: ValidationError, where: str | None = None) -> list[str]:
    """One line per fault; never the value, which may be a secret."""
    lines = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        place = str(fault["loc"][0]) if fault["loc"] else "configuration"
        message = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{where} {place}: {message}" if where else f"{place}: {message}")
    return lines
