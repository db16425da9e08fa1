"""SQLite on the seed's clock, quick because a simulated crash never takes the file with it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, event

from tests.simulation.fate import Fate
from tests.simulation.loop import EPOCH
from tests.simulation.quick import QuickConnection
from worker.adapters.database import SqlStore
from worker.adapters.database.engine.transaction import Database, Transaction
from worker.adapters.database.tables import metadata

T = TypeVar("T")

MEMORY = Path("/dev/shm")


class Shelf:
    """One database for all seeds of a process, emptied before each.

    Attributes:
        store: what reads it.
        quick: the connection that transactions are given; SQLAlchemy's own without it.
    """

    store: type[SqlStore] = SqlStore

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.clock: Callable[[], float] = lambda: 0.0
        self.url = f"sqlite:///{self._folder.name}/ingest.db"
        self.database = Database(self.url)
        event.listen(self.database.engine, "connect", self._prepare)
        metadata.create_all(self.database.engine)
        self._connection = self.database.engine.connect()
        self._connection.begin()
        self._driver = self._connection.connection.dbapi_connection
        self.quick: QuickConnection | None = QuickConnection(self._connection)

    def _prepare(self, connection, _record) -> None:
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = MEMORY", "synchronous = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        # The store asks SQLite for the time with this function.
        connection.create_function("strftime", 2, self._now)

    def _now(self, _format: str, _moment: str) -> str:
        now = datetime.fromtimestamp(EPOCH + self.clock(), UTC)
        return now.strftime("%Y-%m-%d %H:%M:%S.%f")

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """A transaction on the one connection: with one thread there is nobody to give way to."""
        with self.connection() as connection:
            return work(Transaction(self.quick or connection, "sqlite"))

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """The one connection, in a transaction.

        The driver begins and ends it: to SQLAlchemy, which takes its time for that, all seeds are
        one transaction.
        """
        try:
            yield self._connection
        except BaseException:
            self._driver.execute("ROLLBACK")
            raise
        else:
            self._driver.execute("COMMIT")
        finally:
            self._driver.execute("BEGIN")

    def running(self) -> bool:
        """Whether a batch is not finished yet."""
        found = "SELECT 1 FROM batches WHERE state = 'running' LIMIT 1"
        with self.connection() as connection:
            return connection.exec_driver_sql(found).first() is not None

    def empty(self) -> None:
        """Forget the seed before."""
        with self.connection() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())

    def close(self) -> None:
        self._connection.close()
        self.database.close()
        self._folder.cleanup()


class CalmDatabase(Database):
    """The shelf's database for who looks on."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf.url)
        self._shelf = shelf

    def _guarded(self, work, *, writes: bool):
        return self._shelf.transact(work)


class TroubledDatabase(Database):
    """The shelf's database as one worker reaches it, or does not."""

    def __init__(self, shelf: Shelf, fate: Fate) -> None:
        super().__init__(shelf.url)
        self._shelf = shelf
        self._fate = fate

    def _guarded(self, work, *, writes: bool):
        self._fate.before_store()
        result = self._shelf.transact(work)
        if writes:
            self._fate.after_store()
        return result


def store_of(shelf: Shelf, fate: Fate) -> SqlStore:
    """The store as a worker has it."""
    return shelf.store(TroubledDatabase(shelf, fate))
