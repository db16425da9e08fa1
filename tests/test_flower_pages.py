"""Flower's pages about batches: under its login, linked, read-only, harmless."""

import asyncio
import re
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
from celery import Celery
from flower import urls
from flower.app import Flower
from tornado.httpclient import AsyncHTTPClient
from tornado.ioloop import IOLoop

from tests.cli.desk import BATCH, EVIL, fill
from worker.bootstrap import open_store
from worker.flower.pages import add_pages, linked
from worker.settings import Settings

OPTIONS = SimpleNamespace(
    url_prefix="", inspect_timeout=1000.0, basic_auth=["a:b"], auth="", debug=False, auto_refresh=True,
    format_task=None,
)  # fmt: skip


@contextmanager
def pages_added():
    before = urls.handlers[:], dict(urls.settings)
    add_pages()
    desk = urls.handlers[0].kwargs["desk"]
    try:
        yield
    finally:
        if desk._store is not None:  # in life it is open until Flower ends
            desk._store.close()
        urls.handlers[:] = before[0]
        urls.settings.clear()
        urls.settings.update(before[1])


def get(path, *, login=True, method="GET"):
    """What Flower answers: a status and a text."""

    async def ask():
        flower = Flower(
            capp=Celery(broker="memory://"), options=OPTIONS, events=SimpleNamespace(),
            io_loop=IOLoop.current(), **urls.settings,
        )  # fmt: skip
        server = flower.listen(0, address="127.0.0.1")
        (socket,) = server._sockets.values()
        user = {"auth_username": "a", "auth_password": "b"} if login else {}
        url = f"http://127.0.0.1:{socket.getsockname()[1]}{path}"
        body = None if method == "GET" else ""
        try:
            reply = await AsyncHTTPClient().fetch(
                url, raise_error=False, method=method, body=body, **user
            )
        finally:
            server.stop()
            flower.executor.shutdown()
        return reply.code, reply.body.decode()

    with pages_added():
        return asyncio.run(ask())


@pytest.fixture
def filled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INGEST_DATABASE_URL", f"sqlite:///{tmp_path / 'test.db'}")
    with closing(open_store(Settings.load())) as store:
        yield fill(store)


PATHS = ["/batches", f"/batches/{BATCH}", f"/batches/{BATCH}/files/two.pdf"]


@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_them_without_flowers_login(filled, path):
    assert get(path, login=False)[0] == 401


@pytest.mark.parametrize("path", PATHS)
def test_they_only_show(filled, path):
    assert get(path, method="POST")[0] in {403, 405}
    assert "<form" not in get(path)[1]


def test_the_list_tells_each_batch(filled):
    code, told = get("/batches")
    assert code == 200
    for words in (
        "nightly",
        str(BATCH),
        "3 of 4",
        "2 without success",
        "nobody",
        'data-refresh="5',
    ):
        assert words in told


def test_a_batch_is_its_report_without_contents(filled):
    code, told = get("/batches/nightly")
    assert code == 200
    for words in ("one.wav", "parse_failed", "Uploads accounted for", r"evil\x1b[2J\nname.wav"):
        assert words in told
    assert "你好" not in told
    assert "\x1b" not in told
    assert EVIL not in told


def test_a_batchs_files_can_be_narrowed(filled):
    files = get("/batches/nightly?state=failed")[1].split("<h2>Files</h2>")[1]
    assert re.findall(r">([\w.]+)</a></td>", files) == ["two.pdf"]
    assert get("/batches/nightly?state=lost")[0] == 404
    assert "one.wav" not in get("/batches/nightly?page=2")[1].split("<h2>Files</h2>")[1]


def test_a_file_tells_its_story(filled):
    code, told = get("/batches/nightly/files/two.pdf")
    assert code == 200
    for words in ("handed in", "submitting", "no text layer", 'data-refresh="0'):
        assert words in told


@pytest.mark.parametrize("path", ["/batches/nothing", "/batches/nightly/files/nothing"])
def test_what_is_not_there_is_said(filled, path):
    assert get(path)[0] == 404


def test_without_a_database_the_list_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INGEST_DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    code, told = get("/batches")
    assert (code, "no database yet" in told) == (503, True)


def test_flowers_own_navigation_leads_there(filled):
    assert '<a class="nav-link active" href="/batches">Batches</a>' in get("/batches")[1]
    assert '<a class="nav-link" href="/batches">Batches</a>' in get("/nothing/here")[1]
    assert linked("<p>another Flower</p>") == "<p>another Flower</p>"
