"""What the tests of the commands share."""

import os
from contextlib import closing

import pytest

from tests.cli.desk import fill
from worker.bootstrap import open_store
from worker.settings import Settings


@pytest.fixture
def database(tmp_path, monkeypatch):
    """A database of its own, and no configuration from elsewhere."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("CHATFLOW_", "INGEST_")):
            monkeypatch.delenv(name)
    url = f"sqlite:///{tmp_path / 'test.db'}"
    monkeypatch.setenv("INGEST_DATABASE_URL", url)
    return url


@pytest.fixture
def store(database):
    with closing(open_store(Settings.load())) as opened:
        yield opened


@pytest.fixture
def filled(store):
    """A batch with a file succeeded, one failed, one rejected, and one still queued."""
    return fill(store)
