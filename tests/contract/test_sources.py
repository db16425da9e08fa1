"""The fake sources and files on a disk: the same bytes, names and refusals."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeSources
from worker.adapters.files.sources import FileSources
from worker.errors import SourceRejected
from worker.ports.sources import SourceContent, Sources

pytestmark = pytest.mark.anyio


class Shelf:
    """Sources of one kind: one that is there, and one that is not."""

    def __init__(self, sources: Sources, there: str, missing: str, data: bytes) -> None:
        self.sources, self.there, self.missing, self.data = sources, there, missing, data


@pytest.fixture(params=["fake", "files"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    there, missing = str(tmp_path / "a.wav"), str(tmp_path / "b.wav")
    data = there.encode()
    if request.param == "fake":
        fake = FakeSources()
        fake.refused[missing] = SourceRejected("no such file", code="not_found")
        return Shelf(fake, there, missing, data)
    Path(there).write_bytes(data)
    return Shelf(FileSources([str(tmp_path)], 1_000_000), there, missing, data)


async def read(content: SourceContent) -> bytes:
    return b"".join([chunk async for chunk in content.chunks()])


def test_a_file_is_told_by_its_name_and_size(shelf: Shelf) -> None:
    found = shelf.sources.examine(shelf.there)
    assert (found.name, found.size) == ("a.wav", len(shelf.data))


def test_what_is_not_there_is_rejected_with_its_reason(shelf: Shelf) -> None:
    with pytest.raises(SourceRejected) as caught:
        shelf.sources.examine(shelf.missing)
    assert caught.value.code == "not_found"


def test_a_look_at_many_tells_each_in_its_place(shelf: Shelf) -> None:
    first, second, third = shelf.sources.look([shelf.there, shelf.missing, shelf.there])
    assert isinstance(second, SourceRejected)
    assert not isinstance(first, SourceRejected)
    assert not isinstance(third, SourceRejected)
    assert (first.name, third.size) == ("a.wav", len(shelf.data))


@pytest.mark.parametrize("way", ["look", "open"])
async def test_the_digest_is_that_of_the_whole_file_once_it_was_read(shelf: Shelf, way) -> None:
    opening: Any = shelf.sources
    (found,) = opening.look([shelf.there])
    async with found.open() if way == "look" else opening.open(shelf.there) as content:
        assert (content.name, content.size) == ("a.wav", len(shelf.data))
        await read(content)
        assert content.sha256 == hashlib.sha256(shelf.data).hexdigest()


async def test_what_is_not_there_is_not_opened(shelf: Shelf) -> None:
    with pytest.raises(SourceRejected):
        async with shelf.sources.open(shelf.missing):
            pass
