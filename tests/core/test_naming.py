"""The beginning of an id stands for a range of ids."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from worker.core.naming import SHORTEST, id_range


@given(st.uuids(), st.integers(SHORTEST, 36), st.booleans())
def test_every_beginning_of_an_id_holds_it(wanted, length, plain):
    text = wanted.hex if plain else str(wanted)
    found = id_range(text[:length])
    if found is None:
        assert len(text[:length].replace("-", "")) < SHORTEST
    else:
        assert found[0] <= wanted <= found[1]


def test_what_begins_no_id_is_none():
    assert [id_range(text) for text in ("", "abc", "nightly", "latest", "f" * 33, "12 4")] == [
        None
    ] * 6


def test_a_whole_id_is_a_range_of_one():
    whole = UUID(int=9)
    assert id_range(str(whole)) == (whole, whole)
