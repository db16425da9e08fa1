"""Fleets on the shared servers, each broker in a corner of its own."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from kombu import Connection
from redis import Redis

from tests import standins
from tests.distributed.fleet import PAIRS, QUICK, Fleet
from worker.adapters.database import open_store
from worker.simulator import running

QUEUES = ("celery", "ingest.submit", "ingest.poll", "ingest.notify")
MARK = "chatflow-ingest-tests"
DATABASES = {"postgresql": "postgres_url", "mariadb": "mariadb_url", "sqlite": "sqlite_url"}
CORNERS = {"redis": "redis_corner", "rabbitmq": "rabbitmq_corner", "fakeredis": "redis_corner"}


def _elsewhere(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


@pytest.fixture(scope="session")
def redis_corner() -> Iterator[Callable[[str], str]]:
    """Finds a numbered database of a Redis that nobody uses, and empties it at the end."""
    found: dict[str, str] = {}
    in_turn = cycle(range(1, 16))

    def corner(server: str) -> str:
        if standins.is_fakeredis(server):
            return _elsewhere(server, str(next(in_turn)))
        if server not in found:
            found[server] = next(filter(_take_corner, _corners(server)), "")
        if not found[server]:
            pytest.skip("every numbered database of this Redis is in use")
        return found[server]

    yield corner
    for url in filter(None, found.values()):
        with Redis.from_url(url) as client:
            client.flushdb()


def _corners(server: str) -> Iterator[str]:
    yield from (_elsewhere(server, str(number)) for number in range(15, 0, -1))


def _take_corner(url: str) -> bool:
    with Redis.from_url(url) as client:
        return client.dbsize() == 0 and bool(client.set(MARK, 1, nx=True))


@pytest.fixture(scope="session")
def rabbitmq_corner() -> Iterator[Callable[[str], str]]:
    """Makes a virtual host; without the right to, the default one is used, and left empty."""
    made: dict[str, str] = {}

    def corner(server: str) -> str:
        if server not in made:
            name = f"ingest-test-{uuid4().hex[:8]}"
            can = _rabbitmqctl("add_vhost", name) and _rabbitmqctl(
                "set_permissions",
                "-p",
                name,
                urlsplit(server).username or "guest",
                ".*",
                ".*",
                ".*",
            )
            made[server] = _elsewhere(server, name) if can else server
        return made[server]

    yield corner
    for server, url in made.items():
        if url != server:
            _rabbitmqctl("delete_vhost", urlsplit(url).path[1:])


def _rabbitmqctl(*arguments: str) -> bool:
    program = shutil.which("rabbitmqctl")
    if program is None:
        return False
    done = subprocess.run([program, "-q", *arguments], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def _forget_messages(url: str) -> None:
    if url.startswith("redis"):
        with Redis.from_url(url) as client:
            client.flushdb()
            client.set(MARK, 1)
        return
    with Connection(url) as connection:
        for queue in QUEUES:
            with suppress(connection.channel_errors), connection.channel() as channel:
                channel.queue_purge(queue)  # not deleted: clients remember what they declared


@pytest.fixture
def make_fleet(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Fleet]]:
    with ExitStack() as exits:

        def make(pair: str) -> Fleet:
            database, broker = pair.split("-")
            server = request.getfixturevalue(f"{broker}_url")
            corner = request.getfixturevalue(CORNERS[broker])(server)
            url = request.getfixturevalue(DATABASES[database])
            _forget_messages(corner)
            simulator = exits.enter_context(running(QUICK))
            store = open_store(url)
            exits.callback(store.close)
            return Fleet(tmp_path, url, corner, simulator, store, exits)

        yield make


@pytest.fixture(params=PAIRS)
def fleet(request: pytest.FixtureRequest, make_fleet: Callable[[str], Fleet]) -> Fleet:
    """A fleet on each pair of servers."""
    return make_fleet(request.param)


@pytest.fixture
def one_fleet(make_fleet: Callable[[str], Fleet]) -> Fleet:
    """A fleet on one pair, for what is the same on the other."""
    return make_fleet(PAIRS[0])


@pytest.fixture
def bare_fleet(make_fleet: Callable[[str], Fleet]) -> Fleet:
    """A fleet that needs no server, for what has nothing to do with the servers at all."""
    return make_fleet("sqlite-fakeredis")
