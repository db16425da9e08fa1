"""Batches and files are found by the names that people give them."""

from uuid import UUID

import pytest

from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId, fleet

ONE = BatchId(UUID("abcd1234-0000-4000-8000-000000000001"))
TWO = BatchId(UUID("abcd5678-0000-4000-8000-000000000002"))
THREE = BatchId(UUID("0f0f0f0f-0000-4000-8000-000000000003"))


@pytest.fixture
def three(store):
    for batch, profile, key in ((ONE, "p", "nightly"), (TWO, "q", "nightly"), (THREE, "p", "abcd")):
        store.create_batch(NewBatch(batch, profile, fleet(profile), external_key=key))
    return store


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (str(ONE), {ONE}),
        (str(ONE).upper(), {ONE}),
        ("abcd1", {ONE}),
        ("abcd1234-0000-4", {ONE}),
        ("0f0f", {THREE}),
        ("nightly", {ONE, TWO}),
        ("abcd", {THREE}),  # a key counts before the beginning of an id
        ("latest", {THREE}),
        ("0f0", set()),
        ("abcd9", set()),
        ("nonsense", set()),
        (str(UUID(int=7)), set()),
        ("no\x00body", set()),
    ],
)
def test_a_batch_is_found_by_its_names(three, name, meant):
    assert {found.batch_id for found in three.batches_named(name)} == meant


def test_of_many_only_some_are_listed(three):
    assert len(three.batches_named("nightly", 1)) == 1


def test_a_file_is_found_by_its_id_or_by_its_name_in_a_batch(three):
    for batch in (ONE, TWO):
        three.add_files(batch, ["/in/a.wav", "/other/a.wav", "/in/b.wav"])
    files = {found.source: found.file_id for found in three.results(ONE)}
    b = str(files["/in/b.wav"])

    assert [found.file_id for found in three.files_named(b)] == [UUID(b)]
    assert UUID(b) in {found.file_id for found in three.files_named(b[:10])}
    assert [found.file_id for found in three.files_named("b.wav", ONE)] == [UUID(b)]
    assert [found.source for found in three.files_named("/other/a.wav", ONE)] == ["/other/a.wav"]
    assert len(three.files_named("a.wav", TWO)) == 2
    assert three.files_named("b.wav") == []
    assert three.files_named(b, TWO) == []
