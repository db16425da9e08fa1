"""Places in dialog sessions that came back unused: the next files get them, without a dialog.

A service that wants a rest turns uploads away, and sends the files home that were to follow in the
same session. A new dialog for each of them would be one call more on a service that has
just asked for fewer; what a session promised is still to be had, since nothing was taken for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from worker.core.model.ids import DialogId
from worker.core.model.wire import Category, DialogSession
from worker.core.planning import Assignment, Candidate, plan
from worker.steps.loop import clock

KEPT_FOR = 300.0
"""Seconds that a session's places are kept: how long one lasts is documented nowhere, and a place
that is handed out while a load waits for its turn may well be used that late, too."""


@dataclass(slots=True)
class _Kept:
    """A session, until when its places are good, and how many of each category there are."""

    session: DialogSession
    until: float
    free: Counter[tuple[int, str]] = field(default_factory=Counter)

    def offer(self) -> tuple[Category, ...]:
        return tuple(
            replace(each, upload_max_num=self.free[_key(each)])
            for each in self.session.node.categories
        )


class Places:
    """One process's unused places of a profile's dialogs."""

    def __init__(self) -> None:
        self._kept: dict[DialogId, _Kept] = {}

    def give_back(self, session: DialogSession, category: Category) -> None:
        """A file did not use the place in this session that it had: nothing of it was taken."""
        kept = self._kept.setdefault(session.id, _Kept(session, clock() + KEPT_FOR))
        kept.free[_key(category)] += 1

    def take(
        self, candidates: Sequence[Candidate]
    ) -> list[tuple[DialogSession, tuple[Assignment, ...]]]:
        """Hand out what there is; who is in none of these loads needs a new dialog."""
        loads = []
        self._forget_what_is_over()
        for kept in self._kept.values():
            load = _first_load(candidates, kept.offer())
            if load:
                kept.free.subtract(_key(each.category) for each in load)
                loads.append((kept.session, load))
                placed = {each.file for each in load}
                candidates = [each for each in candidates if each.file not in placed]
        return loads

    def _forget_what_is_over(self) -> None:
        now = clock()
        self._kept = {key: kept for key, kept in self._kept.items() if kept.until > now}


def _first_load(
    candidates: Sequence[Candidate], categories: Sequence[Category]
) -> tuple[Assignment, ...]:
    loads = plan(candidates, categories).loads
    return loads[0].assignments if loads else ()


def _key(category: Category) -> tuple[int, str]:
    return category.id, category.name
