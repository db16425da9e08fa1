from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.adapters.listing import FileListing
from worker.core.model import SeenFile


def nowhere(path: str, glob: str | None, recursive: bool) -> list[SeenFile]:
    return [SeenFile(path + "/x", 1, 2)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.wav", "note.txt", "deep/c.wav", "deep/er/d.WAV"):
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"12345")
    return tmp_path / "in"


def names(tree: Path, *paths: str, glob: str | None = None, recursive: bool = False) -> list[str]:
    found = FileListing(nowhere).look(paths or [str(tree)], glob=glob, recursive=recursive)
    return [os.path.relpath(file.source, tree) for file in found]


def test_a_folder_gives_its_files(tree: Path) -> None:
    assert names(tree) == ["a.wav", "b.wav", "note.txt"]
    assert names(tree, glob="*.wav") == ["a.wav", "b.wav"]
    assert names(tree, glob="*.wav", recursive=True) == ["a.wav", "b.wav", "deep/c.wav"]
    assert names(tree, glob="deep/*.wav", recursive=True) == ["deep/c.wav"]
    assert len(names(tree, recursive=True)) == 5


def test_sizes_and_times_are_those_of_now(tree: Path) -> None:
    os.utime(tree / "a.wav", ns=(5, 1_700_000_000_000_000_001))
    (file,) = FileListing(nowhere).look([str(tree / "a.wav")])
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
    listing = FileListing(nowhere)
    (file,) = [file for file in listing.look([str(tree / "deep")]) if "c.wav" not in file.source]
    file.source.encode()
    assert list(listing.look([file.source])) == [file]


def test_a_loop_of_links_ends(tree: Path) -> None:
    (tree / "deep" / "up").symlink_to(tree)
    assert len(names(tree, recursive=True)) == 5


def test_other_places_are_asked_there(tree: Path) -> None:
    found = FileListing(nowhere).look(["s3://bucket/calls"], recursive=True)
    assert list(found) == [SeenFile("s3://bucket/calls/x", 1, 2)]
