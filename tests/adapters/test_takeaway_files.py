from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest

from worker.adapters.files.takeaway import LocalTakeAway
from worker.core.model.fleet import Leftover
from worker.core.model.ids import FileId
from worker.errors import SourceRejected, TryLater

ID = FileId(UUID("12345678-0000-5000-8000-000000000001"))


class Place:
    """A root with one ingested file in it, and a folder for files that are done."""

    def __init__(self, base: Path) -> None:
        self.root = base / "in"
        self.done = base / "done"
        self.root.mkdir()
        self.file = self.root / "call.wav"
        self.file.write_bytes(b"sound")
        self.taker = LocalTakeAway([str(self.root)])

    def leftover(self, rule: str | None = None, source: Path | None = None) -> Leftover:
        return Leftover(
            ID,
            str(source or self.file),
            rule or f"move:{self.done}",
            5,
            hashlib.sha256(b"sound").hexdigest(),
        )

    def moved(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.done.iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def no_links(number: int, *, within: bool) -> Callable[..., None]:
    """`os.link` of a file system that has none, or that links do not lead out of."""
    real = os.link

    def link(source: Any, target: Any, **options: Any) -> None:
        if within or Path(source).parent != Path(target).parent:
            raise OSError(number, os.strerror(number), str(source))
        real(source, target, **options)

    return link


@pytest.fixture(params=["one file system", "two file systems", "no hard links"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "two file systems":
        monkeypatch.setattr(os, "link", no_links(errno.EXDEV, within=False))
    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", no_links(errno.EPERM, within=True))
    return str(request.param)


def test_delete(place: Place) -> None:
    place.taker.take_away(place.leftover("delete"))
    assert not place.file.exists()
    place.taker.take_away(place.leftover("delete"))  # gone already: done


def test_move(place: Place, file_system: str) -> None:
    os.utime(place.file, (1_700_000_000, 1_700_000_000))
    place.taker.take_away(place.leftover())
    assert place.moved() == {"call.wav": b"sound"}
    assert (place.done / "call.wav").stat().st_mtime == 1_700_000_000
    assert not place.file.exists()
    place.taker.take_away(place.leftover())
    assert place.moved() == {"call.wav": b"sound"}


def test_a_move_overwrites_nothing(place: Place, file_system: str) -> None:
    place.done.mkdir()
    (place.done / "call.wav").write_bytes(b"other")
    place.taker.take_away(place.leftover())
    assert place.moved() == {"call.wav": b"other", "call-12345678.wav": b"sound"}


def test_a_move_beside_a_file_of_the_same_contents_keeps_both(
    place: Place, file_system: str
) -> None:
    place.done.mkdir()
    (place.done / "call.wav").write_bytes(b"sound")
    place.taker.take_away(place.leftover())
    assert place.moved() == {"call.wav": b"sound", "call-12345678.wav": b"sound"}


def test_names_run_out_and_the_file_stays(place: Place) -> None:
    place.done.mkdir()
    for name in ("call.wav", "call-12345678.wav", f"call-{ID}.wav"):
        (place.done / name).write_bytes(b"other")
    with pytest.raises(SourceRejected, match="no free name"):
        place.taker.take_away(place.leftover())
    assert place.file.read_bytes() == b"sound"


@pytest.mark.parametrize("rule", [None, "delete"])
@pytest.mark.parametrize("contents", [b"louder sound", b"noise"])
def test_a_changed_file_stays(place: Place, rule: str | None, contents: bytes) -> None:
    place.file.write_bytes(contents)
    with pytest.raises(SourceRejected) as caught:
        place.taker.take_away(place.leftover(rule))
    assert caught.value.code == "changed"
    assert place.file.read_bytes() == contents
    assert not place.done.exists() or place.moved() == {}


@pytest.mark.parametrize("rule", [None, "delete"])
def test_nothing_outside_the_roots_is_touched(place: Place, rule: str | None) -> None:
    outside = place.root.parent / "outside"
    outside.mkdir()
    victim = outside / "call.wav"
    victim.write_bytes(b"sound")
    (place.root / "way").symlink_to(outside)
    (place.root / "link.wav").symlink_to(victim)
    ways = [victim, place.root / "way" / "call.wav", place.root / ".." / "outside" / "call.wav"]
    for source in ways:
        with pytest.raises(SourceRejected) as caught:
            place.taker.take_away(place.leftover(rule, source))
        assert caught.value.code == "outside_roots"
    with pytest.raises(SourceRejected) as caught:
        place.taker.take_away(place.leftover(rule, place.root / "link.wav"))
    assert caught.value.code == "not_a_file"
    assert victim.read_bytes() == b"sound"


def test_a_root_whose_name_only_begins_alike_is_another(place: Place) -> None:
    other = place.root.with_name("in-other")
    other.mkdir()
    (other / "call.wav").write_bytes(b"sound")
    with pytest.raises(SourceRejected):
        place.taker.take_away(place.leftover("delete", other / "call.wav"))


def test_a_move_to_its_own_folder_is_no_move(place: Place) -> None:
    place.taker.take_away(place.leftover(f"move:{place.root}"))
    assert [path.name for path in place.root.iterdir()] == ["call.wav"]


def test_a_file_address_is_a_path(place: Place) -> None:
    spaced = place.root / "a call.wav"
    place.file.rename(spaced)
    place.taker.take_away(Leftover(ID, spaced.as_uri(), "delete", 5, place.leftover().sha256))
    assert not spaced.exists()


def test_a_full_disk_is_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", no_links(errno.ENOSPC, within=True))
    with pytest.raises(TryLater):
        place.taker.take_away(place.leftover())
    assert place.file.exists()


def test_a_folder_that_is_a_file_is_told(place: Place) -> None:
    place.done.write_bytes(b"")
    with pytest.raises(SourceRejected):
        place.taker.take_away(place.leftover())
    assert place.file.exists()


class Killed(BaseException):
    """The process dies here."""


def dying(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Die once so many calls that change the disk have been made."""
    calls = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal calls
            if calls == after:
                raise Killed
            calls += 1
            return real(*args, **options)

        return call

    monkeypatch.setattr(os, "link", wrap(os.link))
    monkeypatch.setattr(os, "fsync", wrap(os.fsync))
    monkeypatch.setattr(Path, "unlink", wrap(Path.unlink))
    monkeypatch.setattr(Path, "mkdir", wrap(Path.mkdir))


@pytest.mark.parametrize("after", range(6))
@pytest.mark.parametrize("two_file_systems", [False, True])
def test_a_move_that_was_cut_short_is_completed_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, after: int, two_file_systems: bool
) -> None:
    with monkeypatch.context() as patched:
        if two_file_systems:
            patched.setattr(os, "link", no_links(errno.EXDEV, within=False))
        dying(patched, after)
        try:
            place.taker.take_away(place.leftover())
        except Killed:
            survivors = [place.file, *place.done.glob("*"), *place.done.glob(".*")]
            assert any(p.exists() and p.read_bytes() == b"sound" for p in survivors)
    with monkeypatch.context() as patched:
        if two_file_systems:
            patched.setattr(os, "link", no_links(errno.EXDEV, within=False))
        place.taker.take_away(place.leftover())
    assert place.moved() == {"call.wav": b"sound"}
    assert not place.file.exists()


def test_a_copy_that_was_cut_short_is_made_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_links(errno.EXDEV, within=False))
    place.done.mkdir()
    (place.done / f".{ID}.moving").write_bytes(b"so")
    place.taker.take_away(place.leftover())
    assert place.moved() == {"call.wav": b"sound"}


def test_many_workers_move_a_file_once(place: Place, file_system: str) -> None:
    barrier = Barrier(6)

    def take() -> None:
        barrier.wait()
        with suppress(TryLater):
            place.taker.take_away(place.leftover())

    with ThreadPoolExecutor(6) as pool:
        for outcome in [pool.submit(take) for _ in range(6)]:
            outcome.result()
    place.taker.take_away(place.leftover())
    assert place.moved() == {"call.wav": b"sound"}
    assert not place.file.exists()
