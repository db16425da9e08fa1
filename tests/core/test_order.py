"""What may be handed in, and what is refused before anything is written."""

import json
from typing import Any
from uuid import uuid4

import pytest

from worker.core.order import (
    FAULTS_SAID,
    LONGEST_INPUTS,
    LONGEST_NAME,
    LONGEST_QUEUE,
    MOST_FILES,
    BatchOrder,
)

FILES = ["/in/a.wav"]
DEEP: Any = {}
for _ in range(2000):
    DEEP = {"x": DEEP}


def test_a_full_message_is_taken_as_it_is():
    batch, hand_in = uuid4(), uuid4()
    order = BatchOrder.of_message(
        (),
        {
            "files": FILES,
            "category": "Audio test",
            "profile": "second.one",
            "external_key": "nightly-2026-11-22",
            "inputs": {"language": "en"},
            "notify": {"task": "upstream.done", "queue": "upstream"},
            "batch_id": str(batch),
            "part": 2,
            "parts": 3,
            "hand_in": str(hand_in),
        },
    )
    assert json.loads(order.inputs or "") == {"language": "en"}
    assert (order.batch_id, order.hand_in) == (batch, hand_in)
    assert (order.part, order.parts, order.files) == (2, 3, FILES)


def test_positions_follow_the_fields():
    order = BatchOrder.of_message((FILES, "Audio", "second"), {"external_key": "k"})
    assert (order.category, order.profile, order.external_key) == ("Audio", "second", "k")


def test_what_is_empty_counts_as_missing():
    order = BatchOrder.of_message(
        (), {"files": [], "category": "", "external_key": "", "inputs": {}, "notify": {}}
    )
    assert (order.category, order.external_key, order.inputs, order.notify) == (None,) * 4


WRONG: list[Any] = [None, True, 0, 7, 1.5, "\ud800", "a\x00b", "text", [], [1], {"a": 1}, [["x"]]]
"""A value of every type that JSON knows, and the texts that no database can hold."""

FITS: dict[str, list[Any]] = {
    "files": [[]],
    "category": [None, "text"],
    "profile": ["text"],
    "external_key": [None, "text"],
    "inputs": [None, {"a": 1}],
    "notify": [None],
    "batch_id": [None],
    "part": [None],
    "parts": [None],
    "hand_in": [None],
    "force": [True],
}


@pytest.mark.parametrize("field", BatchOrder.model_fields)
def test_every_field_refuses_every_type_but_its_own(field: str):
    for value in WRONG:
        fields = {"files": FILES, field: value}
        if any(value is fit or (type(value) is type(fit) and value == fit) for fit in FITS[field]):
            BatchOrder.of_message((), fields)
            continue
        with pytest.raises(ValueError, match=field):
            BatchOrder.of_message((), fields)


@pytest.mark.parametrize("bad", [None, 5, True, ["/in/b.wav"], {"path": "x"}, "\ud800", "a\x00"])
def test_one_bad_entry_refuses_the_whole_list(bad: Any):
    with pytest.raises(ValueError, match=r"^files\[1\]: ") as refused:
        BatchOrder.of_message((["/in/a.wav", bad, "/in/c.wav"],), {})
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, "files"),
        ({"files": None}, "files"),
        ({"files": 5}, "files"),
        ({"files": {"a": 1}}, "files"),
        ({"files": "/in/a.wav"}, "files"),
        ({"files": [5] * MOST_FILES}, "files"),
        ({"files": [""] * (MOST_FILES + 1)}, "files"),
        ({"files": FILES, "categroy": "x"}, "categroy"),
        ({"files": FILES, "category": 7}, "category"),
        ({"files": FILES, "category": ["x"]}, "category"),
        ({"files": FILES, "category": "a\x00b"}, "category"),
        ({"files": FILES, "category": "x" * (LONGEST_NAME + 1)}, "category"),
        ({"files": FILES, "external_key": 20261122}, "external_key"),
        ({"files": FILES, "external_key": True}, "external_key"),
        ({"files": FILES, "external_key": "\ud800"}, "external_key"),
        ({"files": FILES, "profile": None}, "profile"),
        ({"files": FILES, "profile": ""}, "profile"),
        ({"files": FILES, "profile": "x" * 300}, "profile"),
        ({"files": FILES, "profile": "default/x"}, "profile"),
        ({"files": FILES, "profile": "run:x"}, "profile"),
        ({"files": FILES, "profile": "a\x00"}, "profile"),
        ({"files": FILES, "inputs": 5}, "inputs"),
        ({"files": FILES, "inputs": [1, 2]}, "inputs"),
        ({"files": FILES, "inputs": "not json"}, "inputs"),
        ({"files": FILES, "inputs": "[1]"}, "inputs"),
        ({"files": FILES, "inputs": {"x": float("nan")}}, "inputs"),
        ({"files": FILES, "inputs": '{"x": Infinity}'}, "inputs"),
        ({"files": FILES, "inputs": {"x": object()}}, "inputs"),
        ({"files": FILES, "inputs": '{"x": "\ud800"}'}, "inputs"),
        ({"files": FILES, "inputs": {"x": "\ud800"}}, "inputs"),
        ({"files": FILES, "inputs": {"x": [{"\ud800": 1}]}}, "inputs"),
        ({"files": FILES, "inputs": '{"x": "\\u0000"}'}, "inputs"),
        ({"files": FILES, "inputs": {"x": "y" * LONGEST_INPUTS}}, "inputs"),
        ({"files": FILES, "inputs": DEEP}, "inputs"),
        ({"files": FILES, "inputs": "[" * 100_000}, "inputs"),
        ({"files": FILES, "notify": "https://example.com"}, "notify"),
        ({"files": FILES, "notify": ["task"]}, "notify"),
        ({"files": FILES, "notify": {"tsk": "x"}}, "notify"),
        ({"files": FILES, "notify": {"task": "t", "url": "https://example.com"}}, "notify"),
        ({"files": FILES, "notify": {"task": ""}}, "notify"),
        ({"files": FILES, "notify": {"task": 5}}, "notify"),
        ({"files": FILES, "notify": {"task": "t" * (LONGEST_QUEUE + 1)}}, "notify"),
        ({"files": FILES, "notify": {"task": "t", "queue": "q\x00"}}, "notify"),
        ({"files": FILES, "batch_id": "nightly"}, "batch_id"),
        ({"files": FILES, "batch_id": 5}, "batch_id"),
        ({"files": FILES, "part": 1}, "part"),
        ({"files": FILES, "part": "1", "parts": "2", "external_key": "k"}, "part"),
        ({"files": FILES, "part": 1, "parts": 10**15, "external_key": "k"}, "parts"),
        ({"files": FILES, "part": 7, "parts": 2, "external_key": "k"}, "part"),
        ({"files": FILES, "part": 0, "parts": 2, "external_key": "k"}, "part"),
        ({"files": FILES, "part": True, "parts": 2, "external_key": "k"}, "part"),
        ({"files": FILES, "part": 1, "parts": 2}, "part"),
        ({"files": FILES, "hand_in": "second"}, "hand_in"),
    ],
)
def test_a_fault_is_refused_by_the_name_of_its_field(fields: dict[str, Any], names: str):
    with pytest.raises(ValueError, match=names) as refused:
        BatchOrder.of_message((), fields)
    assert len(str(refused.value)) < 500


def test_every_fault_has_a_line_and_no_value_is_repeated():
    fields = {"files": 5, "category": 7, "profile": "secret/x", "inputs": "hunter2"}
    with pytest.raises(ValueError, match="category") as refused:
        BatchOrder.of_message((), fields)
    assert len(str(refused.value).splitlines()) == 4
    assert "hunter2" not in str(refused.value)


def test_a_flood_of_faults_is_cut():
    with pytest.raises(ValueError, match="faults more") as refused:
        BatchOrder.of_message((), {f"field{n}": n for n in range(1000)})
    assert len(str(refused.value).splitlines()) == FAULTS_SAID + 1


def test_a_field_given_twice_or_too_many_are_refused():
    with pytest.raises(ValueError, match="files: given twice"):
        BatchOrder.of_message((FILES,), {"files": FILES})
    with pytest.raises(ValueError, match="arguments for"):
        BatchOrder.of_message(("x",) * 20, {})
