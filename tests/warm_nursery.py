"""The process that `tests.warm` forks from: it imports, waits for orders, and forks."""

import gc
import importlib
import json
import locale
import os
import runpy
import signal
import socket
import sys
import time
import warnings
from typing import Any

PRELOADED = (
    "alembic.command",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.beat",
    "celery.bin.celery",
    "celery.bin.worker",
    "celery.concurrency.thread",
    "celery.worker.autoscale",
    "celery.worker.consumer",
    "kombu.transport.memory",
    "kombu.transport.pyamqp",
    "psycopg",
    "pymysql",
    "rich.live",
    "rich.progress",
    "rich.table",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "worker.adapters.database",
    "worker.adapters.broker.redis_transport",
    "worker.cli",
    "worker.connections",
    "worker.embedded",
    "worker.runtime",
    "worker.simulator.server",
    "worker.tasks",
)


def serve(orders: socket.socket) -> dict[str, Any] | None:
    """Fork for each order; returns it in the forked process, and None when nobody asks any more."""
    while head := _exactly(orders, 16):
        _, standard, _, _ = socket.recv_fds(orders, 1, 3)
        order = json.loads(_exactly(orders, int(head)))
        read, write = os.pipe()
        between = os.fork()
        if between == 0:
            child = os.fork()
            if child == 0:
                os.close(read)
                os.close(write)
                orders.close()
                _take(standard)
                return dict(order)
            os.write(write, b"%16d" % child)
            os._exit(0)  # an orphan is taken over by the process that gave the order
        os.waitpid(between, 0)
        orders.sendall(os.read(read, 16))
        for each in (read, write, *standard):
            os.close(each)
    return None


def _exactly(orders: socket.socket, size: int) -> bytes:
    text = b""
    while len(text) < size and (more := orders.recv(size - len(text))):
        text += more
    return text


def _take(standard: list[int]) -> None:
    for own, given in enumerate(standard):
        os.dup2(given, own)
    for given in standard:
        os.close(given)


def become(order: dict[str, Any]) -> None:
    """Be the process that was ordered, as if Python had just started it."""
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    encoding = locale.getpreferredencoding()
    sys.stdin = os.fdopen(0, encoding=encoding, errors="surrogateescape", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding, errors="surrogateescape", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding=encoding, errors="backslashreplace", closefd=False)
    args = order["args"]
    if args[0] == "-W":
        warnings.simplefilter(args[1])
        args = args[2:]
    _, module, *rest = args
    sys.argv = [module, *rest]
    sys.path[0] = order["cwd"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    ordered = serve(socket.socket(fileno=int(sys.argv[1])))
    if ordered is not None:
        become(ordered)
