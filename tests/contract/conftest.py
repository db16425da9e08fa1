import pytest

from tests.contract.bench import Bench
from worker.adapters.database import SqlStore


@pytest.fixture
def bench(store: SqlStore) -> Bench:
    return Bench(store)
