import hashlib
import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec
import pytest

from worker.adapters.files import drivers, walk
from worker.adapters.files.listing import FileListing
from worker.adapters.files.opened_file import PIECE, SMALL
from worker.adapters.files.sources import FileSources, LookedAt
from worker.adapters.files.walk import listing
from worker.errors import ConfigurationError, SourceAway, SourceRejected

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def files(root: Path) -> FileSources:
    return FileSources([str(root)], max_bytes=4 * PIECE)


async def read(sources: FileSources, source: str) -> tuple[bytes, str]:
    async with sources.open(source) as content:
        data = b"".join([piece async for piece in content.chunks()])
        assert len(data) == content.size
        return data, content.sha256


@contextmanager
def rejected(code: str, *words: str) -> Iterator[None]:
    with pytest.raises(SourceRejected) as caught:
        yield
    assert caught.value.code == code, caught.value.message
    for word in words:
        assert word in caught.value.message


async def refused(sources: FileSources, source: str, code: str, *words: str) -> None:
    """The same answer, whether one looks first or opens at once."""
    with rejected(code, *words):
        sources.examine(source)
    with rejected(code, *words):
        await read(sources, source)
    (found,) = sources.look([source])
    with rejected(code, *words):
        assert isinstance(found, SourceRejected)
        raise found


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [1, SMALL - 1, SMALL, SMALL + 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 4 * PIECE]
)
async def test_a_file_is_read_whole_and_hashed(files: FileSources, root: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (root / "a.bin").write_bytes(data)
    found = files.examine(str(root / "a.bin"))
    assert (found.name, found.size) == ("a.bin", size)
    assert await read(files, str(root / "a.bin")) == (data, hashlib.sha256(data).hexdigest())


async def test_pieces_are_bounded_and_the_hash_is_known_at_their_end(
    files: FileSources, root: Path
) -> None:
    data = random.Random(1).randbytes(3 * PIECE + 5)
    (root / "a.bin").write_bytes(data)
    so_far = b""
    async with files.open(str(root / "a.bin")) as content:
        async for piece in content.chunks():
            assert content.sha256 is None or len(so_far + piece) == len(data)
            assert 0 < len(piece) <= PIECE
            so_far += piece
        assert content.sha256 == hashlib.sha256(data).hexdigest()
    assert so_far == data


@pytest.mark.parametrize("size", [10, SMALL + 10])
async def test_the_bytes_come_once(files: FileSources, root: Path, size: int) -> None:
    (root / "a.bin").write_bytes(b"x" * size)
    async with files.open(str(root / "a.bin")) as content:
        assert sum([len(piece) async for piece in content.chunks()]) == size
        assert [piece async for piece in content.chunks()] == []


async def test_nothing_stays_open(files: FileSources, root: Path) -> None:
    (root / "small").write_bytes(b"x")
    (root / "large").write_bytes(b"x" * 3 * PIECE)
    (root / "empty").touch()
    before = len(list(Path("/dev/fd").iterdir()))
    for name in ("small", "large"):
        files.examine(str(root / name))
        async with files.open(str(root / name)) as content:
            assert await anext(content.chunks())
    await refused(files, str(root / "empty"), "empty")
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.parametrize("change", [partial(os.truncate, length=2 * PIECE), None])
async def test_a_file_that_changes_while_read_breaks_off_before_its_end(
    files: FileSources, root: Path, change: Callable[[Path], None] | None
) -> None:
    path = root / "growing.wav"
    path.write_bytes(b"x" * 3 * PIECE)
    got = 0
    with rejected("changed", "growing.wav"):
        async with files.open(str(path)) as content:
            async for piece in content.chunks():
                got += len(piece)
                if change is not None:
                    change(path)
                else:
                    with path.open("ab") as more:
                        more.write(b"y")
    assert got < 3 * PIECE


# --- many at once -----------------------------------------------------------------------------


async def test_what_is_small_is_read_when_it_is_looked_at(files: FileSources, root: Path) -> None:
    (root / "small").write_bytes(b"s" * SMALL)
    (root / "large").write_bytes(b"l" * (SMALL + 1))
    small, gone, large = files.look([f"{root}/small", f"{root}/gone", f"{root}/large"])
    assert isinstance(gone, SourceRejected)
    assert [small.name, large.name] == ["small", "large"]
    (root / "small").unlink()
    for found, data in ((small, b"s" * SMALL), (large, b"l" * (SMALL + 1))):
        assert isinstance(found, LookedAt)
        assert found.size == len(data)
        async with found.open() as content:
            assert b"".join([piece async for piece in content.chunks()]) == data
            assert content.sha256 == hashlib.sha256(data).hexdigest()
    (root / "large").unlink()
    with rejected("not_found"):
        async with large.open():
            pass


async def test_links_in_the_path_are_looked_up_again_for_the_next_files(
    files: FileSources, root: Path
) -> None:
    for day in ("monday", "tuesday"):
        (root / day).mkdir()
        (root / day / "a").write_bytes(day.encode())
        (root / "today").unlink(missing_ok=True)
        (root / "today").symlink_to(day)
        first, again = files.look([f"{root}/today/a", f"{root}/today/a"])
        assert first.size == again.size == len(day)
        async with again.open() as content:
            assert [piece async for piece in content.chunks()] == [day.encode()]


# --- what is refused --------------------------------------------------------------------------


async def test_what_is_not_there(files: FileSources, root: Path) -> None:
    (root / "file").write_bytes(b"x")
    (root / "dangling").symlink_to(root / "gone")
    (root / "circle").symlink_to(root / "circle")
    for name in ("gone.wav", "file/below", "dangling", "circle", "x" * 300, "nul\0", "\ud800"):
        await refused(files, f"{root}/{name}", "not_found")
    with rejected("not_found", "gone.wav", "check the path"):
        files.examine(f"{root}/gone.wav")


async def test_what_is_no_regular_file_is_refused_without_blocking(
    files: FileSources, root: Path
) -> None:
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        old = Path.cwd()
        os.chdir(root)  # the address of a socket must be short
        try:
            listener.bind("socket")
        finally:
            os.chdir(old)
        for name in ("folder", "pipe", "socket", "."):
            await refused(files, f"{root}/{name}", "not_a_file")
    await refused(FileSources(["/dev"], 10), "/dev/null", "not_a_file", "device")


async def test_empty_and_too_large(files: FileSources, root: Path) -> None:
    (root / "empty").touch()
    (root / "most").write_bytes(b"x" * 4 * PIECE)
    (root / "more").write_bytes(b"x" * (4 * PIECE + 1))
    await refused(files, f"{root}/empty", "empty")
    assert files.examine(f"{root}/most").size == 4 * PIECE
    await refused(files, f"{root}/more", "too_large", str(4 * PIECE + 1), "INGEST_MAX_FILE_BYTES")


async def test_what_may_not_be_read(files: FileSources, root: Path) -> None:
    path = root / "secret"
    path.write_bytes(b"x")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with rejected("unreadable", "secret"):
            files.examine(str(path))
    finally:
        os.seteuid(user)


async def test_outside_the_roots(files: FileSources, root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    beside = tmp_path / "inner"  # begins like the root's name
    beside.mkdir()
    (beside / "a").write_bytes(b"x")
    (root / "link").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    for source in (
        str(secret),
        f"{root}/../secret",
        f"{root}/link",
        f"{root}/folder/secret",
        str(beside / "a"),
        "/etc/passwd",
        f"file://{secret}",
        f"file://{root}/%2e%2e/secret",
        f"{tmp_path}/not-there",
        "relative",
        f"simplecache::file://{secret}",
    ):
        await refused(files, source, "outside_roots", "INGEST_ROOTS")


async def test_links_that_stay_inside_are_followed(files: FileSources, root: Path) -> None:
    (root / "deep").mkdir()
    (root / "deep" / "real").write_bytes(b"x")
    (root / "link.wav").symlink_to(root / "deep" / "real")
    (root / "there").symlink_to("deep")
    assert files.examine(f"{root}/link.wav").name == "link.wav"
    assert (await read(files, f"{root}/there/real"))[0] == b"x"


async def test_a_root_may_itself_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    (root / "a").write_bytes(b"x")
    files = FileSources([str(tmp_path / "alias")], 10)
    assert files.examine(str(root / "a")) == files.examine(str(tmp_path / "alias" / "a"))


async def test_a_folder_swapped_for_a_link_at_the_last_moment_is_noticed(
    files: FileSources, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (root / "deep", tmp_path / "elsewhere"):
        folder.mkdir()
        (folder / "a").write_bytes(b"x")
    opening = os.open

    def swap_and_open(path: Path, flags: int) -> int:
        (root / "deep").rename(root / "shallow")
        (root / "deep").symlink_to(tmp_path / "elsewhere")
        return opening(path, flags)

    monkeypatch.setattr(os, "open", swap_and_open)
    with rejected("outside_roots"):
        files.examine(f"{root}/deep/a")


async def test_a_file_swapped_for_a_link_at_the_last_moment_is_noticed(
    files: FileSources, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (root / "a").write_bytes(b"x")
    opening = os.open

    def swap_and_open(path: Path, flags: int) -> int:
        (root / "a").unlink()
        (root / "a").symlink_to(tmp_path / "secret")
        return opening(path, flags)

    monkeypatch.setattr(os, "open", swap_and_open)
    with rejected("not_found"):
        files.examine(f"{root}/a")


# --- names ------------------------------------------------------------------------------------


async def test_file_urls_are_paths(files: FileSources, root: Path) -> None:
    (root / "a b?#.wav").write_bytes(b"x")
    for source in (
        f"file://{root}/a%20b%3F%23.wav",
        f"FILE://localhost{root}/a b?#.wav",
    ):
        assert files.examine(source).name == "a b?#.wav"
    await refused(files, f"file://elsewhere{root}/a", "not_found")


async def test_a_name_that_is_no_text_can_still_be_handed_in(
    files: FileSources, root: Path
) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.wav")).write_bytes(b"x")
    [source] = listing([str(root)])
    source.encode()
    assert source == f"file://{root}/caf%E9.wav"
    assert files.examine(source).name == "caf\ufffd.wav"
    assert (await read(files, source))[0] == b"x"


# --- URLs -------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


async def test_a_url_below_a_root_is_streamed(memory: fsspec.AbstractFileSystem) -> None:
    data = random.Random(2).randbytes(2 * PIECE + 7)
    memory.pipe("/calls/2026/a.wav", data)
    files = FileSources(["memory://calls"], 4 * PIECE)
    for source in ("memory://calls/2026/a.wav", "MEMORY:///calls/2026/a.wav"):
        found = files.examine(source)
        assert (found.name, found.size) == ("a.wav", len(data))
    read_data, digest = await read(files, "memory://calls/2026/a.wav")
    assert (read_data, digest) == (data, hashlib.sha256(data).hexdigest())


async def test_urls_that_are_refused(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    memory.pipe({"/calls/a": b"x", "/calls/empty": b"", "/callsign/a": b"x", "/secret": b"x"})
    memory.pipe("/calls/deep/b", b"x" * 20)
    files = FileSources(["memory://calls/", str(tmp_path)], 10)
    for source, code in {
        "memory://calls/gone": "not_found",
        "memory://calls/deep": "not_a_file",
        "memory://calls/deep/": "not_a_file",
        "memory://calls/empty": "empty",
        "memory://calls/deep/b": "too_large",
        "memory://callsign/a": "outside_roots",
        "memory://calls/../secret": "outside_roots",
        "memory://calls/%2e%2e/secret": "outside_roots",
        "memory://calls/%252e%252e/secret": "outside_roots",
        "memory://calls/..\\secret": "outside_roots",
        "memory://secret": "outside_roots",
        "s3://calls/a": "outside_roots",
        f"local://{tmp_path}/../secret": "outside_roots",
        f"local://{tmp_path}/gone": "not_found",
    }.items():
        await refused(files, source, code)


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder; `/data/away` and `/data/aside` redirect; `/data/broken` fails."""

    asked: list[str]

    def send_head(self):
        self.asked.append(self.path)
        targets = {"/data/away": "/secret.wav", "/data/aside": "/data/a.wav"}
        path = self.path.partition("?")[0]
        if path in targets:
            self.send_response(302)
            self.send_header("Location", targets[path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if path == "/data/broken":
            self.send_error(500)
            return None
        if path == "/data/endless":
            self.send_response(200)
            self.end_headers()
            return None
        return super().send_head()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    folder = tmp_path / "site"
    (folder / "data" / "deep").mkdir(parents=True)
    asked: list[str] = []
    handler = type("Handler", (Quiet,), {"asked": asked})
    with serving(partial(handler, directory=str(folder))) as address:
        yield address, folder, asked


async def test_http_is_streamed_with_one_get(site: tuple[str, Path, list[str]]) -> None:
    address, folder, asked = site
    data = random.Random(3).randbytes(2 * PIECE + 3)
    (folder / "data" / "a b.wav").write_bytes(data)
    files = FileSources([f"{address}/data"], 4 * PIECE)
    source = f"{address}/data/a%20b.wav?version=3"
    assert files.examine(source).name == "a b.wav"
    asked.clear()
    read_data, digest = await read(files, source)
    assert (read_data, digest) == (data, hashlib.sha256(data).hexdigest())
    assert len(asked) == 2  # HEAD for the size, GET for the bytes


async def test_http_faults(site: tuple[str, Path, list[str]]) -> None:
    address, folder, _ = site
    (folder / "secret.wav").write_bytes(b"x")
    files = FileSources([f"{address}/data", "http://127.0.0.1:1/"], 10)
    await refused(files, f"{address}/data/gone.wav", "not_found")
    await refused(files, f"{address}/data/broken", "unreadable", "500")
    await refused(files, f"{address}/data/endless", "unreadable", "size")
    await refused(files, f"{address}/data/deep/", "not_a_file")
    await refused(files, f"{address}/secret.wav", "outside_roots")
    await refused(files, f"{address}/data/%2e%2e/secret.wav", "outside_roots")
    await refused(files, f"{address}/data%2fa.wav", "outside_roots")
    await refused(files, "http://127.0.0.1:1/a.wav", "unreadable")
    await refused(files, "http://127.0.0.1:x/a.wav", "outside_roots")


async def test_a_redirect_that_leads_out_is_not_followed(
    site: tuple[str, Path, list[str]],
) -> None:
    address, folder, asked = site
    (folder / "secret.wav").write_bytes(b"x")
    (folder / "data" / "a.wav").write_bytes(b"yy")
    files = FileSources([f"{address}/data/"], 10)
    await refused(files, f"{address}/data/away", "outside_roots")
    assert "/secret.wav" not in asked
    assert (await read(files, f"{address}/data/aside"))[0] == b"yy"


async def test_messages_keep_what_a_url_hides(memory: fsspec.AbstractFileSystem) -> None:
    files = FileSources(["http://127.0.0.1:1/"], 10)
    for source in ("http://me:hush@127.0.0.1:1/a?sig=hush", "https://me:hush@other/a?sig=hush"):
        with pytest.raises(SourceRejected) as caught:
            files.examine(source)
        assert "hush" not in caught.value.message


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_server_that_is_busy_or_out_of_order_may_be_back_in_a_moment(status: int) -> None:
    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_HEAD = do_GET  # noqa: N815 - the names of the library

        def log_message(self, *_: object) -> None:
            pass

    with serving(Busy) as address:
        files = FileSources([address], 10)
        with pytest.raises(SourceAway) as caught:
            files.examine(f"{address}/a.wav")
    assert caught.value.code == "unreadable"


async def test_a_refused_connection_is_away_and_what_is_not_there_is_not(
    site: tuple[str, Path, list[str]],
) -> None:
    address, _, _ = site
    files = FileSources(["http://127.0.0.1:1/", address, "memory://"], 10)
    with pytest.raises(SourceAway):
        files.examine("http://127.0.0.1:1/a.wav")
    for gone in (f"{address}/nothing.wav", "memory://nothing.wav"):
        with pytest.raises(SourceRejected) as caught:
            files.examine(gone)
        assert type(caught.value) is SourceRejected


async def test_a_password_in_an_address_is_refused_with_the_cure(
    site: tuple[str, Path, list[str]],
) -> None:
    address, _, asked = site
    files = FileSources([address], 10)
    named = f"{address}/a.wav".replace("://", "://usr:hunter2@")
    for source in (named, f"{address}/a.wav?X-Amz-Signature=hunter2", "sftp://usr:hunter2@h/a.wav"):
        await refused(files, source, "password_in_address", "INGEST_SOURCE_OPTIONS")
        assert list(listing([source], roots=[address])) == [source]  # passed on, to be rejected
        with pytest.raises(SourceRejected) as caught:
            files.examine(source)
        assert "hunter2" not in caught.value.message
    assert asked == []


def test_a_root_without_its_driver_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for scheme, extra in {"s3": "s3", "gs": "gcs", "abfs": "azure", "sftp": "sftp"}.items():
        monkeypatch.setattr(drivers, "find_spec", lambda _: None)
        for made in (lambda root: FileSources([root], 1), lambda root: FileListing([root])):
            with pytest.raises(ConfigurationError) as caught:
                made(f"{scheme}://place")
            assert f'pip install "chatflow-ingest[{extra}]"' in caught.value.message
    with pytest.raises(ConfigurationError, match="nosuchdriver"):
        FileSources(["nosuchdriver://x"], 1)


# --- listing ----------------------------------------------------------------------------------


@pytest.fixture
def tree(root: Path) -> Path:
    for name in ("b.wav", "a.txt", ".hidden.wav", "deep/c.wav", "deep/er/d.wav", "z.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def below(root: Path, found: Iterator[str]) -> list[str]:
    return [Path(one).relative_to(root).as_posix() for one in found]


def test_a_folder_stands_for_its_files_in_order(tree: Path) -> None:
    assert below(tree, listing([str(tree)])) == [".hidden.wav", "a.txt", "b.wav", "z.wav"]


def test_folders_in_it_count_when_asked_for(tree: Path) -> None:
    assert below(tree, listing([str(tree)], recursive=True)) == [
        ".hidden.wav",
        "a.txt",
        "b.wav",
        "deep/c.wav",
        "deep/er/d.wav",
        "z.wav",
    ]


def test_the_pattern_is_for_names_in_folders(tree: Path) -> None:
    found = listing([str(tree / "a.txt"), str(tree)], recursive=True, glob="[cd].wav")
    assert below(tree, found) == ["a.txt", "deep/c.wav", "deep/er/d.wav"]


def test_paths_become_absolute_and_links_stay(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "link.wav").symlink_to(tree / "b.wav")
    (tree / "folder").symlink_to(tree / "deep")
    (tree / "up").symlink_to(tree)
    monkeypatch.chdir(tree)
    assert list(listing(["link.wav"])) == [f"{tree}/link.wav"]
    assert below(tree, listing(["folder"])) == ["folder/c.wav"]
    assert "folder/c.wav" not in below(tree, listing(["."], recursive=True))


def test_what_is_missing_or_odd_is_passed_on(tree: Path) -> None:
    (tree / "deep" / "dangling").symlink_to(tree / "gone")
    os.mkfifo(tree / "deep" / "pipe")
    assert below(tree, listing([str(tree / "gone.wav")])) == ["gone.wav"]
    assert below(tree, listing([str(tree / "deep")])) == [
        "deep/c.wav",
        "deep/dangling",
        "deep/pipe",
    ]
    odd = ["/nul\0", "nosuchdriver://", "file://far/x"]
    assert list(listing(odd)) == odd


def test_a_folder_larger_than_a_window_stays_in_order(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_WINDOW", 7)
    names = [f"{n:03}" for n in range(70)]
    for name in reversed(names):
        (root / name).touch()
    assert below(root, listing([str(root)])) == names


def test_it_takes_its_paths_as_they_come(tree: Path) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield str(tree)

    found = listing(endless())
    assert len([next(found) for _ in range(50)]) == 50


def test_url_folders(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe({f"/calls/{name}": b"x" for name in ("b.wav", "a.txt", "deep/c.wav")})
    assert list(listing(["memory://calls"])) == ["memory://calls/a.txt", "memory://calls/b.wav"]
    found = list(listing(["memory://calls/"], recursive=True, glob="*.wav"))
    assert found == ["memory://calls/b.wav", "memory://calls/deep/c.wav"]
    files = FileSources(["memory://calls"], 10)
    assert [files.examine(one).name for one in found] == ["b.wav", "c.wav"]
    for same in ("memory://calls/a.txt", "memory://calls/gone", "nosuchdriver://x/y"):
        assert list(listing([same])) == [same]


def test_http_folders(site: tuple[str, Path, list[str]]) -> None:
    address, folder, _ = site
    (folder / "data" / "a b.wav").write_bytes(b"x")
    (folder / "data" / "deep" / "c.wav").write_bytes(b"x")
    assert list(listing([f"{address}/data/"])) == [f"{address}/data/a%20b.wav"]
    found = list(listing([f"{address}/data/"], recursive=True))
    assert found == [f"{address}/data/a%20b.wav", f"{address}/data/deep/c.wav"]
    files = FileSources([f"{address}/data"], 10)
    assert [files.examine(one).name for one in found] == ["a b.wav", "c.wav"]
