"""Private servers that may be stopped, frozen and emptied: nobody else uses them."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

PATIENCE = 60.0
_ROOT = os.geteuid() == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(*names: str) -> str:
    """The first of these programs that there is; without one the test can't run."""
    folders = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/rabbitmq/bin"]
    folders += [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    for name in names:
        if found := shutil.which(name, path=os.pathsep.join(folders)):
            return str(Path(found).resolve()) if "postgresql" in found else found
    word = f"{names[0]} is not installed"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(word)
    pytest.skip(word)


@dataclass
class Server:
    """One server process that can be killed, frozen and started again on the same data."""

    url: str
    command: list[str]
    answers: Callable[[], bool]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    helper: "subprocess.Popen[bytes] | None" = None
    process: "subprocess.Popen[bytes] | None" = None

    def close(self) -> None:
        """End what the server needed beside it."""
        if self.helper is not None:
            self.helper.kill()
            self.helper.wait(PATIENCE)

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=os.environ | self.environment,
                user=self.user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail((self.folder / "server.log").read_text(errors="replace")[-3000:])
            time.sleep(0.1)

    def _members(self) -> list[psutil.Process]:
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def send(self, number: int) -> None:
        """Send a signal to the server and all its processes."""
        for member in self._members():
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)

    def kill(self) -> None:
        """End it without a chance to say good-bye."""
        members = self._members()
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(members, timeout=PATIENCE)
        if self.process is not None:
            self.process.wait(PATIENCE)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the server in its tracks for a while: connections stay, answers do not come."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)


def _port_answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _query_answers(url: str) -> bool:
    engine = create_engine(url, connect_args={"connect_timeout": 2})
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    else:
        return True
    finally:
        engine.dispose()


def _check(command: list[str], **more: object) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


def postgresql(folder: Path, **more: str) -> Server:
    """A PostgreSQL of our own; `more` are settings of its configuration."""
    user = _postgres_user(folder)
    _check(
        [program("initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust",
         "-E", "UTF8", "--no-sync"],
        cwd=folder,
        user=user,
    )  # fmt: skip
    return _postgres(folder, user, **more)


def standby(folder: Path, primary: Server) -> Server:
    """A copy of a PostgreSQL that follows it, statement by statement, and may be asked only."""
    user = _postgres_user(folder)
    _check(
        [program("pg_basebackup"), "-D", str(folder / "data"), "-R", "-c", "fast",
         "-d", make_url(primary.url).set(drivername="postgresql").render_as_string()],
        cwd=folder,
        user=user,
    )  # fmt: skip
    return _postgres(folder, user, hot_standby="on")


def promote(server: Server) -> None:
    """Let a standby take over."""
    _check(
        [program("pg_ctl"), "-D", str(server.folder / "data"), "promote", "--wait"],
        cwd=server.folder,
        user=server.user,
    )


def _postgres_user(folder: Path) -> str | None:
    """It refuses to run as root, so root lends it another account."""
    if not _ROOT:
        return None
    user = next(name for name in ("postgres", "nobody") if _has_account(name))
    shutil.chown(folder, user)
    return user


def _has_account(name: str) -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


def _postgres(folder: Path, user: str | None, **more: str) -> Server:
    port = free_port()
    command = [program("postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
    settings = {"listen_addresses": "127.0.0.1", "max_connections": "200"} | more
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    return Server(url, command, lambda: _query_answers(url), folder, user=user)


def mariadb(folder: Path) -> Server:
    """A MariaDB of our own."""
    install, server = program("mariadb-install-db"), program("mariadbd")
    data, port = folder / "data", free_port()
    me = ["--user=root"] if _ROOT else []
    _check(
        [install, "--no-defaults", *me, f"--datadir={data}", "--auth-root-authentication-method=normal",
         "--skip-test-db"],
        cwd=folder,
    )  # fmt: skip
    command = [server, "--no-defaults", *me, f"--datadir={data}", f"--port={port}"]
    command += ["--bind-address=127.0.0.1", f"--socket={folder / 'm.sock'}"]
    command += [f"--pid-file={folder / 'm.pid'}", "--max-connections=200"]
    command += ["--character-set-server=utf8mb4"]
    url = f"mysql+pymysql://root@127.0.0.1:{port}/mysql"
    return Server(url, command, lambda: _query_answers(url), folder)


def redis(
    folder: Path, *more: str, port: int | None = None, answering: int | None = None
) -> Server:
    """A Redis of our own that forgets everything when it dies.

    Args:
        port: 0 for none without TLS.
        answering: the port to knock at to see whether it is up.
    """
    port = free_port() if port is None else port
    command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder), *more]
    knock = answering or port
    return Server(f"redis://127.0.0.1:{port}/0", command, lambda: _port_answers(knock), folder)


def rabbitmq(folder: Path, tls: tuple[Path, Path] | None = None) -> Server:
    """A RabbitMQ node of our own, with a name server of its own for Erlang's nodes.

    Args:
        tls: certificate and key; it then listens behind TLS alone.
    """
    port, distribution, names = free_port(), free_port(), free_port()
    plugins, configuration = folder / "plugins", folder / "rabbitmq.conf"
    plugins.write_text("[].\n")
    configuration.write_text(_listener(port, tls))
    environment = {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"crash{port}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
        "RABBITMQ_PID_FILE": str(folder / "rabbit.pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
    }
    url = f"{'amqps' if tls else 'amqp'}://guest:guest@127.0.0.1:{port}//"
    # The name server runs beside the node; left to itself the node would leave one behind.
    epmd = subprocess.Popen(
        [program("epmd"), "-port", str(names), "-address", "127.0.0.1"],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    answers = partial(_port_answers, port) if tls else partial(_amqp_answers, url)
    return Server(url, [_rabbit()], answers, folder, environment, None, epmd)


def _listener(port: int, tls: tuple[Path, Path] | None) -> str:
    if tls is None:
        return f"listeners.tcp.default = 127.0.0.1:{port}\n"
    chain, key = tls
    return (
        f"listeners.tcp = none\nlisteners.ssl.default = 127.0.0.1:{port}\n"
        f"ssl_options.certfile = {chain}\nssl_options.keyfile = {key}\n"
    )


def _rabbit() -> str:
    # Debian's /usr/sbin/rabbitmq-server is a wrapper that starts the system's own node.
    real = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    return str(real) if real.exists() else program("rabbitmq-server")


def _amqp_answers(url: str) -> bool:
    import kombu

    with suppress(Exception), kombu.Connection(url, connect_timeout=2) as connection:
        connection.ensure_connection(max_retries=1)
        return True
    return False
