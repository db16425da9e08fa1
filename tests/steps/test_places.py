"""Places that came back are handed out again, and no session serves more than it offered."""

from __future__ import annotations

from uuid import uuid4

import anyio
import pytest

from tests.fakes import AUDIO, NODE, TEXT
from worker.core.model.ids import DialogId, FileId
from worker.core.model.wire import Category, DialogSession
from worker.core.planning import Candidate
from worker.steps.places import KEPT_FOR, Places

pytestmark = pytest.mark.anyio


def session() -> DialogSession:
    return DialogSession(DialogId(uuid4()), "1", NODE)


def named(*names: str) -> list[Candidate]:
    return [Candidate(FileId(uuid4()), name) for name in names]


def served(loads) -> list[list[str]]:
    return [[each.name for each in assignments] for _, assignments in loads]


def kept(*unused: Category) -> Places:
    """What is kept of one session, of which so many places came back."""
    places, opened = Places(), session()
    for category in unused:
        places.give_back(opened, category)
    return places


async def test_a_place_goes_to_one_file_and_to_no_other() -> None:
    places = kept(AUDIO)
    assert served(places.take(named("a.wav", "b.wav"))) == [["a.wav"]]
    assert places.take(named("b.wav")) == []


async def test_a_place_is_for_files_of_its_category() -> None:
    places = kept(AUDIO)
    assert places.take(named("a.txt", "b.zip")) == []
    assert served(places.take(named("c.wav"))) == [["c.wav"]]


async def test_places_of_several_sessions_are_used_one_session_after_the_other() -> None:
    places, first, second = Places(), session(), session()
    for each, category in ((first, AUDIO), (second, AUDIO), (first, TEXT), (second, AUDIO)):
        places.give_back(each, category)
    loads = places.take(named("a.wav", "b.wav", "c.wav", "d.wav", "e.txt"))
    assert [each.id for each, _ in loads] == [first.id, second.id]
    assert served(loads) == [["a.wav", "e.txt"], ["b.wav", "c.wav"]]


async def test_a_place_that_comes_back_again_is_good_again() -> None:
    places = kept(TEXT)
    ((opened, (assignment,)),) = places.take(named("a.txt"))
    places.give_back(opened, assignment.category)
    assert served(places.take(named("a.txt"))) == [["a.txt"]]


async def test_places_are_not_kept_for_ever() -> None:
    places = kept(TEXT)
    await anyio.sleep(KEPT_FOR)
    assert places.take(named("a.txt")) == []
