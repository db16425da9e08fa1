"""What workers have in common: freezes, pauses, breakers, reuse, who is alive, what is due."""

from __future__ import annotations

from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.contract.model.base import CATEGORIES, CODES, CREWS, PROFILE, Hand, Side
from tests.contract.model.work import CHANNEL
from worker.core.breaker import Applicant
from worker.core.lifecycle import FileState, Lane
from worker.core.model.fleet import Due
from worker.core.model.ids import FileId
from worker.core.reuse import Dealt, Wanted

HOLDERS = [str(UUID(int=number << 64)) for number in (1, 2)]
TTL = 10.0
LIMIT = 2

a_holder = st.sampled_from(HOLDERS)
a_channel = st.sampled_from(sorted(CHANNEL.values()))
a_fate = st.sampled_from([CODES[0], *CODES, None])
a_category = st.sampled_from(CATEGORIES)


class Fleet(Side):
    """Rules about a profile as a whole."""

    # --- gates ---

    def the_service_is_in_trouble(self, data: st.DataObject) -> None:
        self.do_one(data, self.freeze, self.freeze, self.thaw, self.pause, self.probe)

    @precondition(lambda self: self.is_closed())
    @rule(waited=st.booleans())
    def the_service_is_well(self, *, waited: bool) -> None:
        """Nothing holds any call any more, unless a freeze goes on."""
        if waited:
            self.time_passes(61.0)
        self._resume()
        for channel in sorted(CHANNEL.values()):
            self._thaw(channel)

    def is_closed(self) -> bool:
        return any(self.model.gate(channel)[0] != "open" for channel in CHANNEL.values())

    def freeze(self, data: st.DataObject) -> None:
        channels = data.draw(st.sets(a_channel, min_size=1), "channels")
        seconds = data.draw(st.sampled_from([1.0, 60.0]), "seconds")
        self.both(
            lambda: self.store.freeze(PROFILE, channels, seconds, "429"),  # type: ignore[arg-type]
            lambda: self.model.freeze(channels, seconds),
        )

    def thaw(self, data: st.DataObject) -> None:
        self._thaw(data.draw(a_channel, "channel"))

    def _thaw(self, channel: str) -> None:
        self.store.thaw(PROFILE, channel)  # type: ignore[arg-type]
        self.model.thaw(channel)
        strikes = self.store.strikes(PROFILE, channel)  # type: ignore[arg-type]
        known = self.model.freezes.get(channel)
        assert strikes == (0 if known is None else known.strikes)

    def pause(self, data: st.DataObject) -> None:
        self.both(lambda: self.store.pause(PROFILE, "refused"), self.model.pause)
        assert self.store.paused() == [PROFILE]

    def probe(self, data: st.DataObject) -> None:
        self.both(lambda: self.store.take_probe(PROFILE, 60), lambda: self.model.take_probe(60))
        if data.draw(st.booleans(), "well"):
            self._resume()

    def _resume(self) -> None:
        self.store.resume(PROFILE)
        self.model.probe_at = None
        assert self.store.paused() == []

    # --- breakers ---

    def files_of_a_category_fail(self, data: st.DataObject) -> None:
        category = data.draw(a_category, "category")
        for code in data.draw(st.lists(a_fate, min_size=1, max_size=3), "codes"):
            self._heard_of(category, code)

    def _heard_of(self, category: str, code: str | None) -> None:
        self.both(
            lambda: self.store.heard_of(PROFILE, category, code, LIMIT),
            lambda: self.model.heard_of(category, code, LIMIT),
        )

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), number=st.integers(1, 3), category=a_category)
    def held_back(self, data: st.DataObject, number: int, category: str) -> None:
        hands = {hand.file: hand for hand in self._about_to_upload(data, number)}
        applicants = [Applicant(hand.file, hand.token, category) for hand in hands.values()]
        self.both(
            lambda: self.store.held_back(PROFILE, applicants),
            lambda: self.model.held_back(applicants),
        )

    def _about_to_upload(self, data: st.DataObject, number: int) -> list[Hand]:
        hands = [self.some(data, Lane.SUBMIT) for _ in range(number)]
        return [hand for hand in hands if hand and hand.upload is None and not hand.must_settle]

    # --- reuse ---

    @precondition(lambda self: self.hands)
    @rule(
        data=st.data(),
        number=st.integers(1, 3),
        key=st.sampled_from(["k", "l"]),
        within=st.sampled_from([50.0, 1e6]),
    )
    def reuse(self, data: st.DataObject, number: int, key: str, within: float) -> None:
        hands = {hand.file: hand for hand in self._about_to_upload(data, number)}
        wanted = [
            Wanted(hand.file, hand.token, key, "Audio", 7, "0" * 64) for hand in hands.values()
        ]
        held = [each for each in wanted if self.model.holds(each)]
        dealt = self.store.reuse(PROFILE, wanted, within)
        assert dealt.upload | dealt.reused | dealt.waiting == {each.file for each in held}
        crew = self.model.files[held[0].file].crew if held else CREWS[0]
        mine = {each.file for each in held}
        known = {each.file: self.model.origins(each, mine, within) for each in held}
        flying = {each.file: self.model.flying(each, mine, crew) for each in held}
        for each in held:
            others = flying[each.file] | (dealt.upload - {each.file})
            self._dealt(each, dealt, known[each.file], others)
            if each.file in dealt.upload:
                hands[each.file].key = key

    def _dealt(self, each: Wanted, dealt: Dealt, known: set[FileId], flying: set[FileId]) -> None:
        reused_from, waits_for = self.world.reuse_of(each.file)
        if known:
            assert each.file in dealt.reused
            assert reused_from in known
            self.model.take_over(each, reused_from)
        elif each.file in dealt.waiting:
            assert waits_for in flying
            self.model.wait_for(each, waits_for)
        else:
            assert each.file in dealt.upload
            assert not flying, "uploaded although one like it is in flight"
            self.model.go_ahead(each)

    @precondition(lambda self: self.model.waiting())
    @rule()
    def wake_waiting(self) -> None:
        before = {file.id for file in self.model.waiting()}
        released = self.model.released()
        number = self.store.wake_released(self.store.released())
        woken = {key for key in before if self.world.reuse_of(key)[1] is None}
        assert number == len(woken)
        later = {key for key in released if self.model.until(self.model.files[key].next_at) > 0}
        assert later <= woken
        for key in woken - released:
            self._is_canary(key)
        self.model.wake(woken)

    def _is_canary(self, key: FileId) -> None:
        file = self.model.files[key]
        assert file.state is FileState.QUEUED
        assert self.model.held_by_breaker(file.waits_for), "woken while another is in flight"

    # --- who is alive ---

    def a_worker_comes_or_goes(self, data: st.DataObject) -> None:
        self.do_one(data, self.attend, self.attend, self.leave, self.bury)

    def attend(self, data: st.DataObject) -> None:
        holder = data.draw(a_holder, "holder")
        self.both(
            lambda: self.store.attend(holder, None, "here", TTL),
            lambda: self.model.attend(holder, TTL),
        )

    def leave(self, data: st.DataObject) -> None:
        holder = data.draw(a_holder, "holder")
        self.store.leave(holder)
        self.model.attendants.pop(holder, None)

    def bury(self, data: st.DataObject) -> None:
        self.both(self.store.bury, self.model.bury_silent)

    # --- what is due ---

    def look_what_is_due(self, data: st.DataObject) -> None:
        within = data.draw(st.sampled_from([0.0, 1.0, 100.0]), "within")
        expected = set()
        for crew in CREWS:
            for lane in Lane:
                wait = self.model.next_wait(crew, lane)
                state, closed = self.model.gate(CHANNEL[lane])
                if wait is None or state == "paused":
                    continue
                wait = max(wait, closed) if state == "frozen" else wait
                if wait <= within:
                    expected.add(Due(PROFILE, crew, lane, wait))
        assert set(self.store.due(within)) == expected
