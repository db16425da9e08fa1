"""Files of a folder are listed ahead of the database, and nothing else changes by that."""

from itertools import count, islice

import pytest

from worker.cli.options import ahead


@pytest.mark.parametrize("number", [0, 1, 999, 1000, 1001, 2500])
def test_every_source_comes_once_and_in_order(number: int):
    assert list(ahead(map(str, range(number)))) == [str(n) for n in range(number)]


def test_what_listing_raises_reaches_who_asks():
    def broken():
        yield from map(str, range(1500))
        raise OSError("gone")

    found = ahead(broken())
    assert list(islice(found, 1000)) == [str(n) for n in range(1000)]
    with pytest.raises(OSError, match="gone"):
        next(found)


def test_an_endless_folder_is_left_when_nobody_asks_any_more():
    found = ahead(map(str, count()))
    assert next(found) == "0"
    found.close()
    assert list(found) == []
