"""The store: SQLAlchemy Core on SQLite, PostgreSQL and MariaDB.

`open_store` gives the store, `run_lock` keeps two embedded runs apart, `migrate` brings a
database to this version's tables.
"""

from __future__ import annotations

from worker.adapters.database import migrate
from worker.adapters.database.batches import file_id
from worker.adapters.database.migrate import check_revision
from worker.adapters.database.runlock import run_lock
from worker.adapters.database.store import SqlStore, open_store

__all__ = ["SqlStore", "check_revision", "file_id", "migrate", "open_store", "run_lock"]
