"""A store and its model side by side: each call is made at both, and both must say the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.contract.model.profile import Model
from tests.contract.model.world import START, World
from worker.adapters.database import SqlStore
from worker.core.lifecycle import FileState, Lane
from worker.core.model.files import LedgerEntry, UploadState
from worker.core.model.ids import BatchId, Crew, FileId, LeaseToken, UploadId, fleet
from worker.errors import UnknownBatch

PROFILE = "default"
CREWS = [fleet(PROFILE), Crew("run:1")]
BATCHES = [BatchId(UUID(int=number)) for number in (1, 2)]
SOURCES = ["/in/a", "/in/b", "/in/c", "/in/d"]
CATEGORIES = ["Audio", "Pictures"]
CODES = ["odd", "broken"]
SECONDS = [0.2, 1.0, 30.0, 61.0, 121.0, 700.0, 4000.0]
REMEMBERED = 12
LOOK_EVERY = 6

a_batch = st.sampled_from(BATCHES)
a_crew = st.sampled_from(CREWS)
T = TypeVar("T")


@dataclass(eq=False)
class Hand:
    """A file that somebody has, or once had, in hand.

    `deciding` is what the claim said of its uploads, `upload` the one begun since.
    """

    file: FileId
    token: LeaseToken
    lane: Lane
    deciding: LedgerEntry | None = None
    upload: UploadId | None = None
    sent: bool = False
    key: str | None = None

    def __repr__(self) -> str:
        upload = "" if self.upload is None else f", upload {self.upload.int}"
        return f"<file {self.file} to {self.lane}{upload}>"

    @property
    def must_settle(self) -> bool:
        """Whether an earlier upload comes first, as `core/submission.py` has it."""
        if self.deciding is None:
            return False
        if self.deciding.state is UploadState.ACCEPTED:
            return self.deciding.service_status not in {3, 6, 8}
        return self.deciding.state is UploadState.SENT


class Side(RuleBasedStateMachine):
    """Time, repeated calls, and what must hold after each."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.world.empty()
        self.model = Model(START, PROFILE)
        self.hands: list[Hand] = []
        self.calls: list[Callable[[], Any]] = []
        self.ended: dict[FileId, FileState] = {}
        self.numbers = 0
        self.steps = 0

    @property
    def store(self) -> SqlStore:
        return self.world.store

    def number(self) -> UUID:
        """An id that is the same whenever the story is told."""
        self.numbers += 1
        return UUID(int=self.numbers)

    def both(self, of_store: Callable[[], T], of_model: Callable[[], T]) -> T:
        """The call at both, which say the same, also that there is no such batch."""
        said, should = _said(of_store), _said(of_model)
        assert said == should, f"said {said!r} for {should!r}"
        return should

    def repeatable(self, call: Callable[[], T]) -> T:
        """A call that may be made again later, its answer having been lost."""
        self.calls = [*self.calls[1 - REMEMBERED :], call]
        return call()

    def do_one(self, data: st.DataObject, *things: Callable[[st.DataObject], None]) -> None:
        """One of several rare things, so that together they are as frequent as a common one."""
        data.draw(st.sampled_from(things), "what")(data)

    def some(self, data: st.DataObject, lane: Lane | None = None) -> Hand | None:
        """A file in hand, most of the time one whose lease still holds."""
        hands = [hand for hand in self.hands if lane in {None, hand.lane}]
        held = [hand for hand in hands if self.is_held(hand)]
        chosen = held if held and data.draw(st.integers(0, 4), "late if 0") else hands
        return data.draw(st.sampled_from(chosen), "hand") if chosen else None

    def is_held(self, hand: Hand) -> bool:
        file = self.model.files.get(hand.file)
        return file is not None and file.lease_token == hand.token

    # --- rules ---

    @precondition(lambda self: self.model.files)
    @rule(seconds=st.sampled_from(SECONDS))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)
        self.model.now = self.world.now

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_is_repeated(self, data: st.DataObject) -> None:
        which = data.draw(st.integers(0, len(self.calls) - 1), "which")
        self.calls[which]()

    # --- what must hold ---

    @invariant()
    def both_agree(self) -> None:
        differences = self.world.differences(self.model)
        assert not differences, "\n".join(differences)
        self._what_has_ended_stays_ended()
        self.steps += 1
        if self.steps % LOOK_EVERY == 0:
            self._the_account_balances()

    def teardown(self) -> None:
        self._the_account_balances()

    def _the_account_balances(self) -> None:
        """Dearer to ask for; what it finds wrong does not go away by itself."""
        faults = self.world.faults()
        assert not faults, "\n".join(faults)
        said = {status.batch_id: status for status in self.store.batches()}
        assert set(said) == set(self.model.batches)
        for key, status in said.items():
            assert status.counts == self.model.counts(key)
            assert status.total == len(self.model.files_of(key))
            assert status.sealed is self.model.batches[key].sealed
            assert status.profile_state == self.profile_state()

    def _what_has_ended_stays_ended(self) -> None:
        """Except by `retry`, which forgets it here, and by `prune`."""
        now = {key: file.state for key, file in self.model.files.items()}
        changed = {key for key, state in self.ended.items() if now.get(key, state) is not state}
        assert not changed, "a file that had ended moved by itself"
        self.ended = {key: state for key, state in now.items() if state.is_terminal}

    def profile_state(self) -> str:
        states = {self.model.gate(channel)[0] for channel in ("upload", "status")}
        return next((state for state in ("paused", "frozen") if state in states), "open")


def _said(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except UnknownBatch:
        return UnknownBatch
