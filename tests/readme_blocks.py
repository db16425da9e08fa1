"""The README's blocks that repeat the code: drawn from it, compared by a test, written by `make readme`."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_WORDS = {"none", "the working directory"}  # defaults that are told, not written

README = Path(__file__).parent.parent / "README.md"


def states() -> str:
    """The ways of a file as a mermaid diagram, and what `retry` makes of each terminal state."""
    from worker.core.lifecycle import TRANSITIONS, FileState

    ways = [(old, new) for old in FileState for new in FileState if new in TRANSITIONS[old]]
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    lines += [f"    {old} --> {new}" for old, new in ways if not old.is_terminal]
    lines += [f"    {state} --> [*]" for state in FileState if state.is_terminal]
    retried = [
        f"| `{old}` | {' or '.join(f'`{new}`' for new in FileState if new in TRANSITIONS[old]) or 'stays'} |"
        for old in FileState
        if old.is_terminal
    ]
    return "\n".join(
        [*lines, "```", "", "| terminal state | after `retry` |", "| --- | --- |", *retried]
    )


def variables() -> str:
    """The configuration table."""
    from worker.settings import variables as settings_variables

    rows = [
        f"| `{name}` | {default if default in _WORDS else f'`{default}`'} | {description} |"
        for name, default, description in settings_variables()
    ]
    return "\n".join(["| variable | default | |", "| --- | --- | --- |", *rows])


def commands() -> str:
    """The command list, from the command line's own help."""
    rows = [f"| `{usage}` | {help_text} |" for usage, help_text in command_list()]
    return "\n".join(["| command | does |", "| --- | --- |", *rows])


def command_list() -> list[tuple[str, str]]:
    """Usage and first sentence of every command that is not hidden."""
    from typer.main import get_command

    from worker.cli import app

    return list(_walk(get_command(app), ()))


def _walk(command: Any, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if command.hidden:
        return
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from _walk(child, (*names, name))
        return
    arguments = [
        _argument(p) for p in command.params if p.param_type_name == "argument" and not p.hidden
    ]
    yield " ".join([*names, *arguments]), _first_sentence(command.help)


def _argument(parameter: Any) -> str:
    name = (
        (parameter.metavar or parameter.name)
        .strip("[]")
        .removesuffix("...")
        .removesuffix("…")
        .upper()
    )
    name += "…" if parameter.nargs == -1 else ""
    return name if parameter.required else f"[{name}]"


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n", maxsplit=1)[0].split())
    return re.split(r"(?<=[.!])\s", paragraph)[0].rstrip(".").replace("|", "\\|")


BLOCKS: dict[str, Callable[[], str]] = {
    "states": states,
    "variables": variables,
    "commands": commands,
}


def written(text: str, name: str) -> str:
    """What stands between the markers of a block."""
    return _between(name).search(text)[2].strip()


def render(text: str) -> str:
    """The README with its blocks as they should be."""
    for name, draw in BLOCKS.items():
        block = draw()
        text, count = _between(name).subn(
            lambda match, block=block: f"{match[1]}\n{block}\n{match[3]}", text
        )
        if count != 1:
            raise ValueError(f"the README has {count} blocks named {name}, not one")
    return text


def _between(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: .*?-->)(.*?)(<!-- end of {name} -->)", re.DOTALL)


if __name__ == "__main__":
    old = README.read_text(encoding="utf-8")
    new = render(old)
    if "--write" in sys.argv[1:]:
        README.write_text(new, encoding="utf-8")
    else:
        sys.exit(f"{README.name}: run `make readme`" if new != old else 0)
