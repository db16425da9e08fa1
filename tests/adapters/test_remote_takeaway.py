"""Deleting and moving at URLs: nothing is lost, overwritten or moved twice, wherever it is cut short."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.adapters.stores import Bucket, SshServer, s3_server
from worker.adapters.files.remote_takeaway import FileTakeAway
from worker.core.model.fleet import Leftover
from worker.core.model.ids import FileId
from worker.core.source_options import SourceOptions
from worker.errors import SourceRejected, TryLater

ID = FileId(UUID("12345678-0000-5000-8000-000000000001"))


class Memory:
    """fsspec's memory, which knows whole files and no rename, as an object store does."""

    def __init__(self) -> None:
        self.root, self.options = "memory:/", {}

    def put(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            fsspec.filesystem("memory").pipe(f"/{name}", data)

    def files(self) -> dict[str, bytes]:
        system = fsspec.filesystem("memory")
        return {path.lstrip("/"): bytes(system.cat(path)) for path in system.find("/")}


class Place:
    """A root with one ingested file in it, and a folder for files that are done."""

    def __init__(self, store: Any) -> None:
        self.store = store
        base = store.root.removesuffix("/in")
        self.source, self.done = f"{base}/in/call.wav", f"{base}/done"
        store.put({"in/call.wav": b"sound"})
        self.base = base

    def take(self, rule: str | None = None, source: str | None = None) -> None:
        digest = hashlib.sha256(b"sound").hexdigest()
        rule = rule or f"move:{self.done}"
        taker = FileTakeAway([f"{self.base}/in"], SourceOptions(self.store.options))
        taker.take_away(Leftover(ID, source or self.source, rule, 5, digest))

    def refused(self, code: str, rule: str | None = None, source: str | None = None) -> None:
        with pytest.raises(SourceRejected) as caught:
            self.take(rule, source)
        assert caught.value.code == code


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    with s3_server() as port:
        yield port


@pytest.fixture
def memory() -> Iterator[Memory]:
    system = fsspec.filesystem("memory")
    for _ in range(2):
        system.store.clear()
        system.pseudo_dirs[:] = [""]
        if _ == 0:
            yield Memory()


@pytest.fixture(params=["memory", "s3", "sftp"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "memory":
        yield Place(request.getfixturevalue("memory"))
    elif request.param == "s3":
        yield Place(Bucket(request.getfixturevalue("s3")))
    else:
        with closing(SshServer(tmp_path)) as server:
            yield Place(server)


def test_a_file_is_deleted_or_moved_once(place: Place) -> None:
    place.take()
    assert place.store.files() == {"done/call.wav": b"sound"}
    place.take()  # done already
    place.store.put({"in/call.wav": b"sound"})
    place.take("delete")
    place.take("delete")
    assert place.store.files() == {"done/call.wav": b"sound"}


def test_a_move_overwrites_nothing_until_names_run_out(place: Place) -> None:
    there = {"done/call.wav": b"sound"}  # the same bytes are another file all the same
    place.store.put(there)
    place.take()
    there["done/call-12345678.wav"] = b"sound"
    assert place.store.files() == there
    place.store.put({"in/call.wav": b"sound", f"done/call-{ID}.wav": b"other"})
    place.refused("name_taken")
    assert place.store.files() == {
        **there, "in/call.wav": b"sound", f"done/call-{ID}.wav": b"other",
    }  # fmt: skip


def test_what_changed_or_lies_outside_stays(place: Place) -> None:
    place.store.put({"in/call.wav": b"noise", "out/call.wav": b"sound"})
    before = place.store.files()
    for rule in (None, "delete"):
        place.refused("changed", rule)
        place.refused("outside_roots", rule, f"{place.base}/out/call.wav")
        place.refused("outside_roots", rule, f"{place.base}/in/../out/call.wav")
    place.refused(
        "take_away_failed",
        "move:s3://elsewhere/done" if "s3" not in place.base else "move:memory://done",
    )
    place.take(f"move:{place.base}/in/")  # its own folder: no move
    assert place.store.files() == before


class Killed(BaseException):
    """The process dies here."""


def dying(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Die once so many calls that change the store have been made."""
    calls = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            if calls == after:
                raise Killed
            calls += 1
            return real(*args, **options)

        return call

    for name in ("pipe_file", "cp_file", "rm_file"):
        monkeypatch.setattr(MemoryFileSystem, name, wrap(getattr(MemoryFileSystem, name)))


@pytest.mark.parametrize("after", range(6))
@pytest.mark.parametrize("then", ["again", "gone", "changed"])
def test_a_move_that_was_cut_short_is_completed_or_taken_back(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, after: int, then: str
) -> None:
    place = Place(memory)
    memory.put({"done/call.wav": b"other"})
    with monkeypatch.context() as patched:
        dying(patched, after)
        try:
            place.take()
        except Killed:
            assert b"sound" in memory.files().values()
    was_moved = "in/call.wav" not in memory.files()
    copied = memory.files().get("done/call-12345678.wav") == b"sound"
    kept = {"done/call.wav": b"other"} | ({"done/call-12345678.wav": b"sound"} if copied else {})
    if then == "gone":
        fsspec.filesystem("memory").store.pop("/in/call.wav", None)
        place.take()
        assert memory.files() == kept
    elif then == "changed" and not was_moved:
        memory.put({"in/call.wav": b"noise"})
        place.refused("changed")
        assert memory.files() == {**kept, "in/call.wav": b"noise"}
    else:
        place.take()
        assert memory.files() == {"done/call.wav": b"other", "done/call-12345678.wav": b"sound"}


def test_what_comes_under_the_name_while_it_is_moved_stays(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, copy = Place(memory), MemoryFileSystem.cp_file

    def copy_late(system: MemoryFileSystem, source: str, target: str, **options: Any) -> None:
        memory.put({"in/call.wav": b"noise"})
        copy(system, source, target, **options)

    monkeypatch.setattr(MemoryFileSystem, "cp_file", copy_late)
    place.refused("changed")
    assert memory.files() == {"in/call.wav": b"noise"}


def test_what_another_worker_has_moved_meanwhile_is_left_to_it(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, copy = Place(memory), MemoryFileSystem.cp_file

    def copy_twice(system: MemoryFileSystem, source: str, target: str, **options: Any) -> None:
        copy(system, source, target, **options)
        system.rm_file(source)  # the other one deletes its source first

    monkeypatch.setattr(MemoryFileSystem, "cp_file", copy_twice)
    with pytest.raises(TryLater):
        place.take()
    assert memory.files()["done/call.wav"] == b"sound"
    monkeypatch.undo()
    place.take()
    assert memory.files() == {"done/call.wav": b"sound"}


def test_a_file_that_may_not_be_deleted_is_not_moved_either(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, remove = Place(memory), MemoryFileSystem.rm_file

    def refuse(system: MemoryFileSystem, path: str) -> None:
        if "/in/" in path:
            raise PermissionError(path)
        remove(system, path)

    monkeypatch.setattr(MemoryFileSystem, "rm_file", refuse)
    place.refused("take_away_failed")
    assert memory.files() == {"in/call.wav": b"sound"}


def test_a_store_that_is_away_is_asked_once_and_later_again(tmp_path: Path) -> None:
    with closing(SshServer(tmp_path)) as server:
        place = Place(server)
        server.stop()
        taker = FileTakeAway([server.root], SourceOptions(server.options))
        for _ in range(2):
            with pytest.raises(TryLater):
                taker.take_away(Leftover(ID, place.source, "delete", 5, "ab"))
        server.start()
        place.take("delete")
        assert server.files() == {}
