"""Sources on a real S3 API and a real SFTP server: the same promises for both."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.adapters.stores import Bucket, SshServer, s3_server
from worker.adapters.files.listing import FileListing
from worker.adapters.files.opened_file import PIECE
from worker.adapters.files.remote_output import written
from worker.adapters.files.sources import FileSources
from worker.adapters.files.walk import listing
from worker.core.source_options import SourceOptions
from worker.errors import SourceAway, SourceRejected, UsageError

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    with s3_server() as port:
        yield port


class Shelf:
    """A store with a folder that files may come from."""

    def __init__(self, store: Bucket | SshServer) -> None:
        self.root = store.root if isinstance(store, SshServer) else f"{store.root}/in"
        self.store = store
        self.options = SourceOptions(store.options)
        self.files = FileSources([self.root], 8 * PIECE, self.options)
        self.listing = FileListing([self.root], self.options)

    def put(self, **files: bytes) -> None:
        self.store.put({f"in/{name}": data for name, data in files.items()})

    async def read(self, source: str) -> tuple[bytes, str | None]:
        async with self.files.open(source) as content:
            return b"".join([piece async for piece in content.chunks()]), content.sha256


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with closing(SshServer(tmp_path)) as server:
        yield server


@pytest.fixture(params=["s3", "sftp"])
def shelf(request: pytest.FixtureRequest) -> Shelf:
    if request.param == "s3":
        return Shelf(Bucket(request.getfixturevalue("s3")))
    return Shelf(request.getfixturevalue("server"))


async def test_files_are_listed_streamed_and_hashed(shelf: Shelf) -> None:
    large = random.Random(1).randbytes(5 * PIECE + 7)
    odd = "a b#1 é?.wav"
    shelf.put(**{"b.wav": large, odd: b"x", "note.txt": b"n", "deep/er/c.wav": b"c"})
    root = shelf.root
    named = list(listing([root], glob="*.wav", roots=[root], options=shelf.options))
    assert named == [f"{root}/{odd}", f"{root}/b.wav"]
    everything = list(listing([root], recursive=True, roots=[root], options=shelf.options))
    assert everything == [*named, f"{root}/deep/er/c.wav", f"{root}/note.txt"]
    examined = shelf.files.look([*everything, f"{root}/gone.wav"])
    assert [found.name for found in examined[:-1]] == [odd, "b.wav", "c.wav", "note.txt"]
    assert examined[-1].code == "not_found"
    assert await shelf.read(named[1]) == (large, hashlib.sha256(large).hexdigest())
    assert (await shelf.read(named[0]))[0] == b"x"


async def test_what_may_not_be_ingested_is_refused(shelf: Shelf) -> None:
    shelf.put(**{"a.wav": b"x", "empty.wav": b"", "deep/a.wav": b"x"})
    shelf.store.put({"out/a.wav": b"x", "inner/a.wav": b"x"})
    for path, code in {
        "in/gone.wav": "not_found",
        "in/deep": "not_a_file",
        "in/empty.wav": "empty",
        "out/a.wav": "outside_roots",
        "inner/a.wav": "outside_roots",
        "in/../out/a.wav": "outside_roots",
    }.items():
        with pytest.raises(SourceRejected) as caught:
            shelf.files.examine(f"{shelf.root.removesuffix('/in')}/{path}")
        assert (path, caught.value.code) == (path, code)
        assert not isinstance(caught.value, SourceAway)


async def test_a_file_is_known_again_until_it_changes(shelf: Shelf) -> None:
    shelf.put(**{"a.wav": b"12345", "b.wav": b"12345"})
    before = list(shelf.listing.look([shelf.root]))
    assert [file.size for file in before] == [5, 5]
    assert list(shelf.listing.look([file.source for file in before])) == before
    shelf.put(**{"a.wav": b"54321!"})
    after = list(shelf.listing.look([shelf.root]))
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert list(shelf.listing.look([f"{shelf.root}/gone", f"{shelf.root}/gone.wav"])) == []


async def test_a_file_that_is_written_while_it_is_read_breaks_off(shelf: Shelf) -> None:
    shelf.put(**{"a.wav": b"x" * 8 * PIECE})
    files = FileSources([shelf.root], 8 * PIECE, small_blocks(shelf))

    async def read_and_disturb() -> None:
        async with files.open(f"{shelf.root}/a.wav") as found:
            async for _ in found.chunks():
                shelf.put(**{"a.wav": b"y" * 7 * PIECE})

    with pytest.raises(SourceRejected) as caught:
        await read_and_disturb()
    assert caught.value.code == "changed"
    assert not isinstance(caught.value, SourceAway)


def small_blocks(shelf: Shelf) -> SourceOptions:
    """So that a file is read in several requests."""
    return SourceOptions({shelf.root: {**shelf.options.of(shelf.root), "block_size": PIECE}})


# --- S3 alone -------------------------------------------------------------------------------------


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that answers everything with one status, as S3 does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 - the names of the library

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "kind"), [(500, SourceAway), (503, SourceAway), (403, SourceRejected)]
)
async def test_a_bucket_that_is_out_of_order_may_be_back_in_a_moment(status, kind) -> None:
    with answering(status) as endpoint:
        options = {"s3": {"endpoint_url": endpoint, "key": "k", "secret": "hunter2-s3"}}
        files = FileSources(["s3://calls"], 10, SourceOptions(options))
        with pytest.raises(SourceRejected) as caught:
            files.examine("s3://calls/a.wav")
    assert type(caught.value) is kind
    assert caught.value.code == "unreadable"


# --- SFTP alone -----------------------------------------------------------------------------------


async def test_an_unknown_host_is_not_trusted(server: SshServer, tmp_path: Path) -> None:
    server.put({"in/a.wav": b"x"})
    options = server.account
    (tmp_path / "nobody").touch()
    for known in (str(tmp_path / "nobody"), None):
        told = {"known_hosts": known} if known else {}
        mine = {key: value for key, value in options.items() if key != "known_hosts"} | told
        files = FileSources([server.root], 10, SourceOptions({"sftp": mine}))
        with pytest.raises(SourceRejected, match="known_hosts") as caught:
            files.examine(f"{server.root}/a.wav")
        assert not isinstance(caught.value, SourceAway)


async def test_a_wrong_password_is_told_without_it(server: SshServer) -> None:
    server.put({"in/a.wav": b"x"})
    known = server.account["known_hosts"]
    wrong = {"username": "al", "password": "hunter2-ssh", "client_keys": None, "known_hosts": known}
    files = FileSources([server.root], 10, SourceOptions({"sftp": wrong}))
    with pytest.raises(SourceRejected, match="password or client_keys") as caught:
        files.examine(f"{server.root}/a.wav")
    assert "hunter2" not in caught.value.message
    assert not isinstance(caught.value, SourceAway)


async def test_a_server_that_went_away_is_reached_again(server: SshServer) -> None:
    shelf = Shelf(server)
    shelf.put(**{"a.wav": b"x", "b.wav": b"x"})
    source = f"{shelf.root}/a.wav"
    assert shelf.files.examine(source).size == 1
    server.stop()
    with pytest.raises(SourceAway):
        shelf.files.examine(source)
    with pytest.raises(SourceAway):
        list(shelf.listing.look([shelf.root]))
    found = shelf.files.look([source, f"{shelf.root}/b.wav"])
    assert [type(each) for each in found] == [SourceAway, SourceAway]
    server.start()
    assert shelf.files.examine(source).size == 1
    server.stop()
    server.start()  # unnoticed: the kept connection is an old one
    assert (await shelf.read(source))[0] == b"x"


async def test_a_user_in_the_address_goes_before_the_options(server: SshServer) -> None:
    server.put({"in/a.wav": b"x"})
    options = {"sftp": {**server.account, "username": "nobody"}}
    root = server.root.replace("://", "://al@")
    files = FileSources([root], 10, SourceOptions(options))
    assert files.examine(f"{root}/a.wav").name == "a.wav"
    (found,) = listing([root], options=SourceOptions(options))
    assert found == f"{root}/a.wav"


async def test_links_and_pipes_on_a_server(server: SshServer, tmp_path: Path) -> None:
    shelf = Shelf(server)
    shelf.put(**{"a.wav": b"x", "deep/b.wav": b"x"})
    (server.folder / "in" / "link.wav").symlink_to("a.wav")
    (server.folder / "in" / "folder").symlink_to("deep")
    found = list(listing([shelf.root], recursive=True, options=shelf.options))
    assert [one.removeprefix(shelf.root) for one in found] == [
        "/a.wav", "/deep/b.wav", "/link.wav",
    ]  # fmt: skip
    assert shelf.files.examine(f"{shelf.root}/link.wav").size == 1


# --- writing --------------------------------------------------------------------------------------


async def test_what_is_written_appears_whole_and_replaces(shelf: Shelf) -> None:
    target = f"{shelf.root.removesuffix('/in')}/out/results é.jsonl"
    for data in (b"old", b"new"):
        with written(target, shelf.options) as out:
            out.write(data)
            assert data not in shelf.store.files().values()

    def break_off() -> None:
        with written(target, shelf.options) as out:
            out.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert shelf.store.files() == {"out/results é.jsonl": b"new"}


async def test_what_can_not_be_written_is_told(server: SshServer) -> None:
    def write(target: str) -> None:
        with written(target, SourceOptions(server.options)) as out:
            out.write(b"x")

    server.put({"in": b"a file"})
    for target, words in {
        "https://h/a.jsonl": "nothing is written over HTTP",
        "sftp://u:hunter2@h/a.jsonl": "INGEST_SOURCE_OPTIONS",
        f"{server.root}/a.jsonl": "can't be written",
    }.items():
        with pytest.raises(UsageError, match=words) as caught:
            write(target)
        assert "hunter2" not in caught.value.message
