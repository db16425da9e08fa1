"""The store, whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from worker.adapters.database.attendants import AttendantStore
from worker.adapters.database.audit import AuditStore
from worker.adapters.database.batches import BatchStore
from worker.adapters.database.breakers import BreakerStore
from worker.adapters.database.budget import BudgetStore
from worker.adapters.database.claim import ClaimStore
from worker.adapters.database.details import DetailStore
from worker.adapters.database.engine.transaction import Database, Transaction, reads
from worker.adapters.database.gates import GateStore
from worker.adapters.database.interventions import InterventionStore
from worker.adapters.database.leases import LeaseStore
from worker.adapters.database.ledger import LedgerStore
from worker.adapters.database.lines import LineStore
from worker.adapters.database.naming import NamingStore
from worker.adapters.database.outbox import OutboxStore
from worker.adapters.database.overview import OverviewStore
from worker.adapters.database.prune import PruneStore
from worker.adapters.database.ready_times import ReadyTimeStore
from worker.adapters.database.reasons import ReasonStore
from worker.adapters.database.record import RecordStore
from worker.adapters.database.results import ResultStore
from worker.adapters.database.reuse import ReuseStore
from worker.adapters.database.schedules import ScheduleStore
from worker.adapters.database.status import StatusStore
from worker.adapters.database.wakes import WakeStore

R = TypeVar("R")


class SqlStore(
    BatchStore,
    InterventionStore,
    StatusStore,
    AuditStore,
    LineStore,
    PruneStore,
    DetailStore,
    AttendantStore,
    ReasonStore,
    NamingStore,
    ResultStore,
    ClaimStore,
    LeaseStore,
    LedgerStore,
    RecordStore,
    ReuseStore,
    BreakerStore,
    WakeStore,
    GateStore,
    BudgetStore,
    OutboxStore,
    ScheduleStore,
    ReadyTimeStore,
    OverviewStore,
):
    """Implements `ports.store.Store` on a relational database.

    Safe to share between threads, and to carry over a fork: connections are made when they are
    first needed, in the process that needs them. Every method may raise StoreUnavailable when the
    database can't be reached, and DatabaseBehind when it lacks the tables.
    """

    @reads
    def now(self, tx: Transaction) -> float:
        """The database's clock, POSIX seconds."""
        return tx.now.timestamp()

    def together(self, work: Callable[[], R]) -> R:
        """What the work gives, whose readings of this store share one transaction and one clock."""
        return self._database.together(work)

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        self._database.close()


def open_store(url: str, *, pool_size: int = 5) -> SqlStore:
    """The store at this address; no connection is made yet.

    Args:
        url: SQLAlchemy address of an SQLite file, a PostgreSQL or a MariaDB database.
        pool_size: connections kept open; as many again may be opened for a rush.

    Raises:
        ConfigurationError: the address is not one of these.
    """
    return SqlStore(Database(url, pool_size))
