"""Transactions: short, retried when they lose against another, the clock read once."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy import Connection, CursorResult, Engine, Executable, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from worker.adapters.database.engine import bulk
from worker.adapters.database.engine.engines import WRITES, Kind, kind_of, parse, pooled
from worker.adapters.database.engine.failures import is_conflict, is_read_only, translated
from worker.adapters.database.engine.types import utcnow

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Repository")

_NOW = select(utcnow())

_AGAIN = Retrying(
    retry=retry_if_exception(is_conflict),
    stop=stop_after_attempt(8),
    wait=wait_random_exponential(multiplier=0.01, max=0.5),
    reraise=True,
)


class Transaction:
    """One open transaction, and the moment at which it looks at the world."""

    __slots__ = ("_now", "connection", "kind")

    def __init__(self, connection: Connection, kind: Kind) -> None:
        self.connection = connection
        self.kind: Kind = kind
        self._now: datetime | None = None

    @property
    def now(self) -> datetime:
        """The database's clock, read once."""
        if self._now is None:
            self._now = self.connection.execute(_NOW).scalar_one()
        return self._now

    def looked_at(self, moment: datetime) -> None:
        """A statement has read the clock along with something else: no need to ask for it."""
        if self._now is None:
            self._now = moment

    def after(self, seconds: float) -> datetime:
        """The moment so many seconds from now."""
        return self.now + timedelta(seconds=seconds)

    def until(self, moment: datetime | None) -> float:
        """Seconds until the moment, 0 when it is past or there is none."""
        return 0.0 if moment is None else max(0.0, (moment - self.now).total_seconds())

    def since(self, moment: datetime | None) -> float:
        """Seconds since the moment, 0 when it is to come or there is none."""
        return 0.0 if moment is None else max(0.0, (self.now - moment).total_seconds())

    def run(self, statement: Executable, values: Any = None) -> CursorResult[Any]:
        """Execute one statement."""
        return self.connection.execute(statement, values)

    def insert(
        self, table: Any, rows: Sequence[Mapping[str, Any]], *, ignore: bool = False
    ) -> None:
        """Insert homogeneous rows with one statement; see `bulk.insert`."""
        bulk.insert(self.connection, self.kind, table, rows, ignore=ignore)

    def update(self, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write each row's own values, by id, with one statement; see `bulk.update`."""
        bulk.update(self.connection, self.kind, table, rows)


class Database:
    """A lazily made engine that survives forks and threads."""

    def __init__(self, url: str, pool_size: int = 5) -> None:
        self.url = parse(url)
        self.kind: Kind = kind_of(self.url)
        self._pool_size = pool_size
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self.holder: UUID | None = None  # whose name the leases that are taken through it bear
        self._writing = self._one_writer()
        self._joined = threading.local()
        _databases.add(self)

    def _one_writer(self) -> AbstractContextManager[Any]:
        # SQLite lets writers poll for its one lock; queueing our own threads is quick and fair.
        return threading.Lock() if self.kind == "sqlite" else nullcontext()

    @property
    def engine(self) -> Engine:
        """This process's engine."""
        with self._lock:
            if self._engine is None:
                self._engine = pooled(self.url, self._pool_size)
            return self._engine

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def forget_parent(self) -> None:
        """After a fork: the parent's connections and locks are not ours to use or to close."""
        self._lock = threading.Lock()
        self._writing = self._one_writer()
        self._joined = threading.local()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose(close=False)

    def read(self, work: Callable[[Transaction], R]) -> R:
        """Run the work in a transaction that only reads: the one that is open, in `together`."""
        tx: Transaction | None = getattr(self._joined, "tx", None)
        return self._guarded(work, writes=False) if tx is None else work(tx)

    def together(self, work: Callable[[], R]) -> R:
        """Run work that calls reading methods in this thread; they share one transaction."""

        def joined(tx: Transaction) -> R:
            self._joined.tx = tx
            try:
                return work()
            finally:
                self._joined.tx = None

        return self._guarded(joined, writes=False)

    def look(self, work: Callable[[Transaction], R]) -> R:
        """Run work that reads several times and must see one moment."""

        def once() -> R:
            with self.engine.connect() as connection:
                if self.kind != "sqlite":  # there every transaction sees one moment
                    connection.execution_options(isolation_level="REPEATABLE READ")
                with connection.begin():
                    return work(Transaction(connection, self.kind))

        with mapped_errors():
            result: R = _AGAIN(once)
            return result

    def write(self, work: Callable[[Transaction], R]) -> R:
        """Run the work in a transaction that writes, again when it loses a conflict."""
        with self._writing:
            return self._guarded(work, writes=True)

    def _guarded(self, work: Callable[[Transaction], R], *, writes: bool) -> R:
        with mapped_errors():
            try:
                result: R = _AGAIN(self._once, work, writes=writes)
            except DBAPIError as error:
                if is_read_only(error):  # connect anew: another server may have its place by then
                    self.close()
                raise
            return result

    def _once(self, work: Callable[[Transaction], R], *, writes: bool) -> R:
        with self.engine.connect() as connection:
            if writes:
                connection.execution_options(**{WRITES: True})
            with connection.begin():
                return work(Transaction(connection, self.kind))


_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def _forget_parents() -> None:
    for database in list(_databases):
        database.forget_parent()


os.register_at_fork(after_in_child=_forget_parents)


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn what the database says into our errors."""
    try:
        yield
    except SQLAlchemyError as error:
        ours = translated(error)
        if ours is None:
            raise
        raise ours from error


class Repository:
    """What the parts of the store have in common."""

    def __init__(self, database: Database) -> None:
        self._database = database


def reads(
    method: Callable[Concatenate[S, Transaction, P], R],
) -> Callable[Concatenate[S, P], R]:
    """Give a method a transaction that only reads as its first argument."""

    @wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._database.read(lambda tx: method(self, tx, *args, **kwargs))

    return run


def writes(
    method: Callable[Concatenate[S, Transaction, P], R],
) -> Callable[Concatenate[S, P], R]:
    """Give a method a transaction that writes; it may run more than once."""

    @wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._database.write(lambda tx: method(self, tx, *args, **kwargs))

    return run
