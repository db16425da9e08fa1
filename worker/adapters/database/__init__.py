"""The store: SQLAlchemy Core on SQLite, PostgreSQL and MariaDB.

`open_store` gives the store, `run_lock` keeps two embedded runs apart, the module `migrate`
brings a database to this version's tables.
"""

from __future__ import annotations

from worker.adapters.database.batches import file_id
from worker.adapters.database.engine.revision import HEAD, check_revision, current, exists
from worker.adapters.database.engine.runlock import run_lock
from worker.adapters.database.store import SqlStore, open_store

__all__ = [
    "HEAD",
    "SqlStore",
    "check_revision",
    "current",
    "exists",
    "file_id",
    "open_store",
    "run_lock",
]
