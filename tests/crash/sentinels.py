"""A Redis whose replica takes over: two servers and three sentinels of our own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.crash.servers import Server, free_port, program, redis
from tests.distributed.fleet import wait_for

NAME, PASSWORD, SENTINELS_PASSWORD = "mymaster", "its password", "another one"
SILENT_FOR = 1000
"""Milliseconds after which a master counts as lost."""


@dataclass
class Watched:
    """Servers under the eyes of sentinels."""

    master: Server
    replica: Server
    sentinels: list[Server]

    @property
    def url(self) -> str:
        """As INGEST_BROKER_URL names them, with the password of the servers."""
        ports = [server.url.rsplit(":", 1)[1].partition("/")[0] for server in self.sentinels]
        password = PASSWORD.replace(" ", "%20")
        return ";".join(f"sentinel://:{password}@127.0.0.1:{port}/0" for port in ports)

    @property
    def options(self) -> dict[str, object]:
        """As INGEST_BROKER_OPTIONS names them."""
        return {"master_name": NAME, "sentinel_kwargs": {"password": SENTINELS_PASSWORD}}

    def leads(self, server: Server) -> bool:
        """Whether the sentinels that live take this one for the master."""
        states = [_state(_port(each)) for each in self.sentinels]
        return all(state["port"] == _port(server) for state in states if state is not None)


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Start them all, and wait until the sentinels know each other and the replica."""
    secret = ("--requirepass", PASSWORD, "--masterauth", PASSWORD)
    with ExitStack() as exits:

        def up(server: Server) -> Server:
            server.start()
            exits.callback(server.kill)
            return server

        master = up(redis(_home(folder, "master"), *secret))
        followed = (
            "--replicaof",
            "127.0.0.1",
            str(_port(master)),
            "--repl-diskless-sync-delay",
            "0",
        )
        replica = up(redis(_home(folder, "replica"), *secret, *followed))
        sentinels = [up(_sentinel(_home(folder, f"s{n}"), _port(master))) for n in range(3)]
        for each in sentinels:
            wait_for(lambda each=each: _knows_all(each), "the sentinels to know each other")
        yield Watched(master, replica, sentinels)


def _home(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def _port(server: Server) -> int:
    return int(server.url.rsplit(":", 1)[1].partition("/")[0])


def _sentinel(folder: Path, master: int) -> Server:
    port, configuration = free_port(), folder / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f'requirepass "{SENTINELS_PASSWORD}"\nsentinel sentinel-pass "{SENTINELS_PASSWORD}"\n'
        f"sentinel monitor {NAME} 127.0.0.1 {master} 2\n"
        f'sentinel auth-pass {NAME} "{PASSWORD}"\n'
        f"sentinel down-after-milliseconds {NAME} {SILENT_FOR}\n"
        f"sentinel failover-timeout {NAME} 10000\n"
    )
    url = f"redis://127.0.0.1:{port}/0"
    command = [program("redis-server"), str(configuration), "--sentinel"]
    return Server(url, command, lambda: _state(port) is not None, folder)


def _state(port: int) -> dict[str, object] | None:
    with suppress(RedisError), Redis(port=port, password=SENTINELS_PASSWORD) as client:
        return dict(client.sentinel_master(NAME))
    return None


def _knows_all(sentinel: Server) -> bool:
    state = _state(_port(sentinel)) or {}
    return (state.get("num-other-sentinels"), state.get("num-slaves")) == (2, 1)
