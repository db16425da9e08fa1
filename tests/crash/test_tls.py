"""Servers behind TLS, with a certificate of a private authority."""

import json
import shutil
import ssl
from contextlib import ExitStack

import pytest
from kombu import Connection
from sqlalchemy import make_url

import worker.app  # noqa: F401 - for the transports that it names
from tests.certificates import certificate
from tests.crash import servers
from tests.crash.test_bad_days import home, started
from tests.distributed.fleet import QUICK, Fleet
from worker.adapters.broker.options import tls_options
from worker.adapters.database.engine import migrate
from worker.adapters.database.store import open_store
from worker.errors import StoreUnavailable
from worker.simulator import running


def test_rabbitmq_is_believed_only_with_a_certificate_that_is_its_own(tmp_path):
    with ExitStack() as exits:
        folder = home(exits)
        chain, key = certificate(folder)
        broker = started(servers.rabbitmq(folder, (chain, key)), exits)
        exits.callback(broker.close)
        renamed = broker.url.replace("127.0.0.1", "localhost")
        for url, options in ((broker.url, {}), (renamed, {"ssl_ca_certs": str(chain)})):
            unknown = Connection(url, ssl=tls_options(url, options))
            with pytest.raises(ssl.SSLCertVerificationError), unknown:
                unknown.connect()
        database = f"sqlite:///{tmp_path}/ingest.db"
        migrate.upgrade(database)
        store = open_store(database)
        exits.callback(store.close)
        fleet = Fleet(
            tmp_path, database, broker.url, exits.enter_context(running(QUICK)), store, exits
        )
        fleet.environment["INGEST_BROKER_OPTIONS"] = json.dumps({"ssl_ca_certs": str(chain)})
        worker = fleet.worker()
        batch = fleet.cli("submit", *fleet.put("file-{}.wav", 3)).stdout.strip()
        fleet.await_counts(batch, {"succeeded": 3})
        assert "celery_delayed" not in worker.said


def test_postgresql_is_believed_only_with_a_certificate_that_is_its_own():
    with ExitStack() as exits:
        folder = home(exits)
        chain, key = certificate(folder)
        other, _ = certificate(folder, "other")
        key.chmod(0o600)
        database = servers.postgresql(
            folder, ssl="on", ssl_cert_file=str(chain), ssl_key_file=str(key)
        )
        if database.user is not None:
            shutil.chown(key, database.user)
        started(database, exits)
        verified = {"sslmode": "verify-full", "sslrootcert": str(chain)}
        url = make_url(database.url).update_query_dict(verified)
        migrate.upgrade(url.render_as_string(hide_password=False))
        assert looked_at(url) == []
        for wrong in (
            url.update_query_dict({"sslrootcert": str(other)}),
            url.set(host="localhost"),
        ):
            with pytest.raises(StoreUnavailable, match="certificate"):
                looked_at(wrong)


def looked_at(url):
    store = open_store(url.render_as_string(hide_password=False))
    try:
        return store.batches(1)
    finally:
        store.close()
