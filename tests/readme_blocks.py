"""The pages' blocks that repeat the code: drawn from it, compared by a test, written by `make readme`."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.pages import OPERATIONS, README, REFERENCE

_WORDS = {"none", "the working directory"}  # defaults that are told, not written


def architecture() -> str:
    """Who speaks to whom: the queues, the tasks in them, and the databases are the code's."""
    from typing import get_args

    from worker.adapters.broker.names import BrokerNames
    from worker.adapters.database.engine.engines import Kind
    from worker.settings.values import BROKERS

    queues = "<br>".join(BrokerNames().queues)
    names = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}
    databases = " or ".join(names[kind] for kind in get_args(Kind))
    brokers = {"redis://": "Redis", "amqp://": "RabbitMQ"}
    either = " or ".join(brokers[scheme] for scheme in BROKERS if scheme in brokers)
    return f"""```mermaid
flowchart LR
    jobs["upstream jobs<br>send_task, worker.client"]
    commands["chatflow-ingest<br>submit, status, results, report"]
    beat["celery beat<br>schedules, sweeps"]
    broker[("{either}<br>{queues}")]
    workers["workers<br>claim, talk, record"]
    run["chatflow-ingest run<br>a worker in one process"]
    database[("{databases}<br>the truth")]
    service(["chatflow service<br>dialog, upload, status"])
    receivers["who wants to know<br>task or webhook"]
    flower["celery flower<br>/batches"]
    jobs --> broker
    beat --> broker
    commands --> database
    commands -. wake-up .-> broker
    broker -. wake-ups .-> workers
    workers <--> database
    workers --> service
    workers --> receivers
    run <--> database
    run --> service
    flower --> database
```"""


def states() -> str:
    """The ways of a file as a mermaid diagram, and what `retry` makes of each terminal state."""
    from worker.core.lifecycle import RETRIES, TRANSITIONS, FileState

    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    lines += [
        f"    {old} --> {new}"
        for old in TRANSITIONS
        for new in FileState
        if new in TRANSITIONS[old]
    ]
    lines += [f"    {state} --> [*]" for state in RETRIES]
    retried = [
        f"| `{old}` | {' or '.join(f'`{new}`' for new in FileState if new in RETRIES[old]) or 'stays'} |"
        for old in RETRIES
    ]
    return "\n".join(
        [*lines, "```", "", "| terminal state | after `retry` |", "| --- | --- |", *retried]
    )


def error_codes() -> str:
    """Every error code: what it means and what to do about it."""
    from worker.codes import ErrorCode

    rows = [f"| `{code}` | {code.meaning} | {code.cure} |" for code in ErrorCode]
    return "\n".join(["| code | meaning | what to do |", "| --- | --- | --- |", *rows])


def metrics() -> str:
    """Every metric with its labels: the workers' own first, then the database's gauges."""
    from worker.core.model.fleet import Overview
    from worker.telemetry import _COUNTERS, _HISTOGRAMS
    from worker.telemetry.gauges import DatabaseGauges

    own = [
        (name, metric._type, metric._labelnames, metric._documentation)
        for name, metric in {**_COUNTERS, **_HISTOGRAMS}.items()
    ]
    nothing = Overview({}, {}, {}, 0, ticked_ago=0.0)
    gauges = [
        (metric.name, metric.type, metric._labelnames, metric.documentation)
        for metric in DatabaseGauges(lambda: nothing).collect()
    ]
    rows = [
        f"| `{name}` | {kind} | {', '.join(labels)} | {words} |"
        for name, kind, labels, words in [*own, *gauges]
    ]
    return "\n".join(["| metric | kind | labels | tells |", "| --- | --- | --- | --- |", *rows])


def variables() -> str:
    """The configuration table."""
    from worker.settings.variables import variables as settings_variables

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


BLOCKS: dict[str, tuple[Path, Callable[[], str]]] = {
    "architecture": (README, architecture),
    "states": (README, states),
    "commands": (README, commands),
    "variables": (REFERENCE, variables),
    "metrics": (OPERATIONS, metrics),
    "error codes": (OPERATIONS, error_codes),
}
"""Each block, the page it stands on, and what draws it."""


def written(name: str) -> str:
    """What stands between the markers of a block."""
    page, _ = BLOCKS[name]
    return _between(name).search(page.read_text(encoding="utf-8"))[2].strip()


def drawn(name: str) -> str:
    """What should stand there."""
    _, draw = BLOCKS[name]
    return draw()


def render(page: Path) -> str:
    """The page with its blocks as they should be."""
    text = page.read_text(encoding="utf-8")
    for name, (where, draw) in BLOCKS.items():
        if where != page:
            continue
        block = draw()
        text, count = _between(name).subn(
            lambda match, block=block: f"{match[1]}\n{block}\n{match[3]}", text
        )
        if count != 1:
            raise ValueError(f"{page.name} has {count} blocks named {name}, not one")
    return text


def _between(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: .*?-->)(.*?)(<!-- end of {name} -->)", re.DOTALL)


if __name__ == "__main__":
    for each in dict.fromkeys(where for where, _ in BLOCKS.values()):
        new = render(each)
        if "--write" in sys.argv[1:]:
            each.write_text(new, encoding="utf-8")
        elif new != each.read_text(encoding="utf-8"):
            sys.exit(f"{each.name}: run `make readme`")
