"""``init`` and ``config``: writing the configuration down, and seeing what is in force."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.options import AsJson
from worker.cli.program import command
from worker.cli.terminal import put, put_json, put_table, say, shown, table
from worker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

ASKED = {
    "CHATFLOW_BASE_URL": "Address of the service, https://DOMAIN",
    "CHATFLOW_ROBOT_KEY": "Robot key",
    "CHATFLOW_ROBOT_TOKEN": "Robot token",
    "CHATFLOW_USERNAME": "User account",
}
"""What is asked for, in this order."""

HIDDEN = frozenset({"CHATFLOW_ROBOT_KEY", "CHATFLOW_ROBOT_TOKEN"})
"""Typed without an echo."""

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,~-]+")
_HEAD = "# Configuration of chatflow-ingest; `chatflow-ingest config` shows what is in force.\n"


Target = Annotated[
    Path, typer.Option(metavar="FILE", help="Where to write it; read as .env where you work.")
]
BaseUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Address of the service: https://DOMAIN.")
]
RobotKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="Robot key; asked for, it leaves no trace.")
]
RobotToken = Annotated[str | None, typer.Option(metavar="TOKEN", help="Robot token; likewise.")]
UserName = Annotated[str | None, typer.Option(metavar="NAME", help="User account.")]
TenantName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Tenant, where it is not AiopsTest.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]


def init(
    *,
    output: Target = Path(".env"),
    base_url: BaseUrl = None,
    robot_key: RobotKey = None,
    robot_token: RobotToken = None,
    username: UserName = None,
    tenant_name: TenantName = None,
    force: Force = False,
) -> None:
    """Write down where the service is and as whom to speak to it, readable by you alone.

    Asks for what is not given as an option; key and token are typed without being shown.

    [bold]Example[/]

    chatflow-ingest init --base-url https://chatflow.example.com
    """
    from worker.settings import origins

    if output.exists() and not force:
        raise UsageError(f"{output} is there already; --force replaces it, --output names another")
    given = {
        "CHATFLOW_BASE_URL": base_url,
        "CHATFLOW_ROBOT_KEY": robot_key,
        "CHATFLOW_ROBOT_TOKEN": robot_token,
        "CHATFLOW_USERNAME": username,
    }
    values = {name: given[name] or _asked(name) for name in ASKED}
    if tenant_name:
        values["CHATFLOW_TENANT_NAME"] = tenant_name
    origins.check(values)
    _write(output, values)
    say(f"wrote {output}, readable by you alone")
    for name in origins.set_elsewhere(values):
        say(f"warning: {name} is set in the environment too, which goes first")
    say(f"next: {command('doctor')}")


def _asked(name: str) -> str:
    """What the user types.

    Raises:
        UsageError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        option = "--" + name.removeprefix("CHATFLOW_").lower().replace("_", "-")
        raise UsageError(f"{option}: not given, and there is no terminal to ask at")
    answer: str = typer.prompt(ASKED[name], hide_input=name in HIDDEN, err=True)
    return answer.strip()


def _write(path: Path, values: Mapping[str, str]) -> None:
    """Write the file whole or not at all, for its owner alone.

    Raises:
        UsageError: it can't be written, or a value can't be told in such a file.
    """
    from worker.settings.origins import dot_env

    lines = [f"{name}={_quoted(value)}\n" for name, value in values.items()]
    try:
        with NamedTemporaryFile(  # made with mode 600
            "w", encoding="utf-8", dir=path.parent, prefix=".env-", delete=False
        ) as file:
            file.write(_HEAD + "".join(lines))
        written = Path(file.name)
    except (OSError, UnicodeEncodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    understood = dot_env(written)
    if lost := [name for name, value in values.items() if understood.get(name) != value]:
        written.unlink()
        raise UsageError(
            f"{', '.join(lost)}: can't be written in a .env file; put the value into a file of that"
            " name in a folder, and name the folder by INGEST_SECRETS_DIR"
        )
    try:
        written.replace(path)
    except OSError as error:
        written.unlink()
        raise UsageError(f"{path}: {error.strerror}") from None


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def config(*, as_json: AsJson = False) -> None:
    """Show the settings in force and where each comes from, secrets masked.

    Names that look like settings and are none are listed at the end, with the one that was
    probably meant.

    [bold]Example[/]

    chatflow-ingest config --json
    """
    from worker.settings import Settings
    from worker.settings.origins import origins, unknown_names

    settings = Settings.load()
    found, unknown = origins(settings), unknown_names()
    if as_json:
        put_json(
            {
                "settings": [asdict(one) for one in found],
                "unknown": [asdict(one) for one in unknown],
                "profiles": settings.profile_names(),
            }
        )
        return
    put_table(table("variable", "value", "from", rows=((o.name, o.value, o.source) for o in found)))
    put(f"profiles: {', '.join(settings.profile_names())}")
    for one in unknown:
        put(shown(one.words()))


def log_format() -> str | None:
    """What is said about the form of stderr, before the settings are read as a whole."""
    if (name := "INGEST_LOG_FORMAT") in os.environ:
        return os.environ[name]
    if not Path(".env").is_file():
        return None
    from worker.settings.origins import said_in_dot_env

    return said_in_dot_env(name)


def warn_of_unknown_names() -> None:
    """Say on stderr which names look like settings and are none."""
    if not any(name.upper().startswith(("CHATFLOW_", "INGEST_")) for name in os.environ) and not (
        Path(".env").is_file() or Path("/run/secrets").is_dir()
    ):
        return  # nothing to be wrong, and nothing to be imported for
    from worker.settings.origins import unknown_names

    for one in unknown_names():
        say(shown(f"warning: {one.words()}"))
