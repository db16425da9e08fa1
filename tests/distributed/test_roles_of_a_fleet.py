"""A fleet whose processes have no more rights in the database than deploy/database gives them."""

from collections.abc import Callable

import pytest

from tests.conftest import _server
from tests.distributed.audit import audit
from tests.distributed.fleet import PAIRS, Fleet
from tests.roles import roles_on
from worker.adapters.database import open_store
from worker.adapters.database.engine import migrate
from worker.client import submit_batch

SERVERS = {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_batch_goes_through_with_the_workers_role_and_is_read_with_the_readers(
    make_fleet: Callable[[str], Fleet], databases: Callable[[str], str], pair: str
):
    fleet = make_fleet(pair)
    with roles_on(databases(_server(SERVERS[pair.partition("-")[0]]))) as roles:
        fleet.database_url = roles.worker
        fleet.environment["INGEST_DATABASE_URL"] = roles.worker
        migrate.upgrade(roles.owner)
        fleet.store = open_store(roles.worker)
        fleet.exits.callback(fleet.store.close)
        worker = fleet.worker(INGEST_AUTO_MIGRATE="on")
        paths = fleet.put("file-{}.wav", 8)
        batch = submit_batch(fleet.client(), paths)
        fleet.await_counts(batch, {"succeeded": 8})
        fleet.await_finish(batch)
        assert not audit(fleet, batch, paths).faults
        read = fleet.cli("results", str(batch), INGEST_DATABASE_URL=roles.reader)
        assert (read.returncode, read.stdout.count('"succeeded"')) == (0, 8)
        assert worker.end() == 0
        assert "role may not" not in worker.said
        assert "step_failed" not in worker.said
