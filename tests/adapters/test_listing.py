from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from worker.adapters.files.listing import FileListing
from worker.core.model.fleet import SeenFile


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.wav", "note.txt", "deep/c.wav", "deep/er/d.WAV"):
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"12345")
    return tmp_path / "in"


def names(tree: Path, *paths: str, glob: str | None = None, recursive: bool = False) -> list[str]:
    found = FileListing(["memory://bucket"]).look(
        paths or [str(tree)], glob=glob, recursive=recursive
    )
    return [os.path.relpath(file.source, tree) for file in found]


def test_a_folder_gives_its_files(tree: Path) -> None:
    assert names(tree) == ["a.wav", "b.wav", "note.txt"]
    assert names(tree, glob="*.wav") == ["a.wav", "b.wav"]
    assert names(tree, glob="*.wav", recursive=True) == ["a.wav", "b.wav", "deep/c.wav"]
    assert len(names(tree, recursive=True)) == 5


def test_sizes_and_times_are_those_of_now(tree: Path) -> None:
    os.utime(tree / "a.wav", ns=(5, 1_700_000_000_000_000_001))
    (file,) = FileListing(["memory://bucket"]).look([str(tree / "a.wav")])
    assert file == SeenFile(str(tree / "a.wav"), 5, 1_700_000_000_000_000_001)


def test_a_named_file_needs_no_glob_and_is_given_once(tree: Path) -> None:
    note = str(tree / "note.txt")
    assert names(tree, note, str(tree), glob="*.txt") == ["note.txt"]
    assert names(tree, note, glob="*.wav") == ["note.txt"]
    assert names(tree, Path(note).as_uri()) == ["note.txt"]


def test_what_is_not_there_gives_nothing(tree: Path) -> None:
    (tree / "dangling").symlink_to(tree / "gone")
    os.mkfifo(tree / "pipe")
    assert names(tree, str(tree / "gone")) == []
    assert names(tree) == ["a.wav", "b.wav", "note.txt"]


def test_a_name_that_is_no_text_is_given_as_an_address(tree: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tree / "deep") + b"/\xff.wav"))
    odd.write_bytes(b"1")
    listing = FileListing(["memory://bucket"])
    (file,) = [file for file in listing.look([str(tree / "deep")]) if "c.wav" not in file.source]
    file.source.encode()
    assert list(listing.look([file.source])) == [file]


def test_a_loop_of_links_ends(tree: Path) -> None:
    (tree / "deep" / "up").symlink_to(tree)
    assert len(names(tree, recursive=True)) == 5


def test_files_of_other_places_are_known_by_what_is_told_of_them() -> None:
    bucket = fsspec.filesystem("memory")
    for name in ("a.wav", "deep/b.wav"):
        bucket.pipe(f"/bucket/{name}", b"12345")
    listing = FileListing(["memory://bucket"])
    (file,) = listing.look(["memory://bucket"], glob="*.wav")
    assert (file.source, file.size) == ("memory://bucket/a.wav", 5)
    assert list(listing.look([file.source])) == [file]
    bucket.pipe("/bucket/a.wav", b"54321")
    (again,) = listing.look([file.source])
    assert again.size == 5
    assert again != file
    assert len(list(listing.look(["memory://bucket"], recursive=True))) == 2
    assert list(listing.look(["memory://bucket/gone"])) == []
    bucket.rm("/bucket", recursive=True)


def test_an_address_outside_the_roots_is_handed_on_without_being_asked() -> None:
    closed = "http://127.0.0.1:9/folder/"  # nobody listens there
    assert list(FileListing(["/data"]).look([closed])) == [SeenFile(closed, 0, 0)]
