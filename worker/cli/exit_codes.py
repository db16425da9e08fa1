"""From our errors to lines on stderr and exit codes."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import typer
from typer._click.exceptions import NoSuchOption
from typer.core import TyperGroup

from worker.cli.program import NAME
from worker.cli.terminal import complain, shown
from worker.errors import ConfigurationError, IngestError, UsageError

OK = 0
NOT_ALL = 1
"""Some file did not succeed, a check failed, or something that we need is out of reach."""
USAGE = 2


class Flowing(TyperGroup):
    """A group whose help flows: a paragraph's lines end where the terminal does."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help of the group itself."""
        self.help = _flowing(self.help)
        super().format_help(ctx, formatter)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; Typer makes only its first paragraph flow."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            found.help = _flowing(found.help)
        return found


def _flowing(text: str | None) -> str | None:
    if text is None:
        return None
    paragraphs = cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


class Commands(Flowing):
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
        except NoSuchOption as error:
            if any(error.option_name in option.opts for option in ctx.command.params):
                error.message += f" It stands before the command: {NAME} {error.option_name} ..."
            raise


def _explain(error: IngestError) -> None:
    """Each fault is an error of its own; otherwise only the first line is one, then come hints."""
    lines = [shown(line) for line in error.message.splitlines()]  # maybe the service's words
    first = lines[:1] or [error.code]
    faults, hints = (lines, []) if isinstance(error, ConfigurationError) else (first, lines[1:])
    for line in faults:
        complain(f"error: {line}")
    for line in hints:
        complain(f"  {line.strip()}")
