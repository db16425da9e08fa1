"""From our errors to lines on stderr and exit codes."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from worker.cli.terminal import complain, shown
from worker.errors import ConfigurationError, IngestError, UsageError

OK = 0
NOT_ALL = 1
"""Some file did not succeed, a check failed, or something that we need is out of reach."""
USAGE = 2


class Commands(TyperGroup):
    """The group of all commands: says what a user can mend without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit 2 for what the user got wrong, 1 for what is out of reach."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            _explain(error)
            raise typer.Exit(USAGE) from None
        except IngestError as error:
            _explain(error)
            raise typer.Exit(NOT_ALL) from None


def _explain(error: IngestError) -> None:
    """Each fault is an error of its own; otherwise only the first line is one, then come hints."""
    lines = [shown(line) for line in error.message.splitlines()]  # maybe the service's words
    first = lines[:1] or [error.code]
    faults, hints = (lines, []) if isinstance(error, ConfigurationError) else (first, lines[1:])
    for line in faults:
        complain(f"error: {line}")
    for line in hints:
        complain(f"  {line.strip()}")
