"""What workers do: claim, begin and send uploads, record verdicts, hand back, renew."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.contract.model.base import CODES, CREWS, PROFILE, Hand, Side
from tests.contract.model.records import MEANT, ModelFile
from tests.contract.model.verdicts import a_verdict
from worker.core.lifecycle import Lane
from worker.core.model.files import (
    Claim,
    DialogLoad,
    ErrorNote,
    Intent,
    LedgerEntry,
    PolledFile,
    QueuedFile,
    Sending,
)
from worker.core.model.ids import Crew, DialogId, FileId, LeaseToken, UploadId
from worker.core.model.wire import DialogSession, UploadNode
from worker.core.verdicts import Verdict

LEASE = 60.0
CHANNEL = {Lane.SUBMIT: "upload", Lane.POLL: "status"}
NODE = UploadNode("flow", "session", "node", ())


class Work(Side):
    """Rules about files in hand."""

    # --- claims ---

    @rule(data=st.data(), limit=st.integers(1, 4))
    def claim(self, data: st.DataObject, limit: int) -> None:
        self._claim(*self._where(data), limit)

    @precondition(lambda self: self.model.files)
    @rule(data=st.data())
    def a_worker_dies(self, data: st.DataObject) -> None:
        """It claims, and its leases run out."""
        self._claim(*self._where(data), 2)
        self.time_passes(LEASE)

    def _where(self, data: st.DataObject) -> tuple[Crew, Lane]:
        """A crew and lane, most of the time with work that is due."""
        anywhere = [(crew, lane) for crew in CREWS for lane in Lane]
        due = [each for each in anywhere if self.model.claimable(*each)]
        chosen = due if due and data.draw(st.integers(0, 7), "anywhere if 0") else anywhere
        return data.draw(st.sampled_from(chosen), "where")

    def _claim(self, crew: Crew, lane: Lane, limit: int) -> None:
        state, wait = self.model.gate(CHANNEL[lane])
        got = self.store.claim(PROFILE, crew, lane, limit, LEASE)
        if state in {"paused", "frozen"} or wait > 0:
            first = self.model.next_wait(crew, lane)
            assert got == Claim(next_wait=None if first is None else max(first, wait))
            return
        limit = 1 if state == "thawing" else limit
        taken = [file.id for file in got.files]
        buried = self._buried(crew, lane)
        self.model.bury(crew, lane, limit, buried)
        self.model.check_choice(crew, lane, limit, taken)
        if not taken or got.token is None:
            assert got == Claim(next_wait=self.model.next_wait(crew, lane))
            return
        assert (got.next_wait, got.probing) == (0, state == "thawing")
        self.model.take(lane, taken, got.token, LEASE)
        if got.probing:
            self.model.probing(CHANNEL[lane], got.token)
        for file in got.files:
            assert file.token == got.token
            self._take_in_hand(file, lane)

    def _buried(self, crew: Crew, lane: Lane) -> list[FileId]:
        """Which of the files that may be poison the claim has ended."""
        suspects = [file for file in self.model.claimable(crew, lane) if file.claimed_deaths >= 4]
        now = self.world.states() if suspects else {}
        return [file.id for file in suspects if now[file.id].is_terminal]

    def _take_in_hand(self, got: QueuedFile | PolledFile, lane: Lane) -> None:
        file = self.model.files[got.id]
        assert (got.batch_id, got.source) == (file.batch_id, file.source)
        assert got.attempts_used == file.attempts_used
        assert (got.failures, got.deaths) == (file.failures, file.deaths)
        deciding = None
        if isinstance(got, QueuedFile):
            deciding = _entry(file)
            assert got.deciding_upload == deciding
            assert got.options.category == self.model.batches[file.batch_id].category
            assert got.forced is file.forced
        else:
            assert got.chatflow_file_id == file.chatflow_file_id
            assert (got.service_status, got.polls) == (file.service_status, file.polls)
            assert (got.parsed, got.category) == (file.parsed, file.category)
            assert got.expired is (
                file.deadline_at is not None and file.deadline_at <= self.model.after(got.due_in)
            )
        self.hands = [*self.hands[-20:], Hand(got.id, got.token, lane, deciding)]

    # --- uploads ---

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def begin_uploads(self, data: st.DataObject) -> None:
        hand = self.some(data, Lane.SUBMIT)
        if hand is None or hand.upload is not None or hand.must_settle:
            return
        self._begin_one(hand)

    def _begin_one(self, hand: Hand) -> None:
        hand.upload = UploadId(self.number())
        intent = Intent(hand.upload, hand.file, hand.token, *MEANT)
        session = DialogSession(DialogId(self.number()), "1", NODE)
        self.repeatable(lambda: self._begin([DialogLoad(PROFILE, session, (intent,))]))

    def _begin(self, loads: list[DialogLoad]) -> None:
        self.both(lambda: self.store.begin_uploads(loads), lambda: self.model.begin_uploads(loads))

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), number=st.integers(1, 3))
    def record(self, data: st.DataObject, number: int) -> None:
        """Some verdicts and some uploads that are to be sent, in one call."""
        verdicts: list[Verdict] = []
        sending: dict[UploadId, Hand] = {}
        for _ in range(number):
            hand = self.some(data)
            if hand is None:
                return
            if hand.upload is not None and not hand.sent and data.draw(st.booleans(), "send"):
                sending[hand.upload] = hand
            else:
                verdicts.append(data.draw(a_verdict(hand), "verdict"))
        self.repeatable(lambda: self._record(verdicts, sending))

    @precondition(lambda self: self.model.files)
    @rule(data=st.data(), steps=st.integers(2, 8))
    def work_goes_on(self, data: st.DataObject, steps: int) -> None:
        """As it goes when nobody dies: each file in hand gets what comes next for it."""
        for _ in range(steps):
            held = [hand for hand in self.hands if self.is_held(hand)]
            if held and data.draw(st.integers(0, 3), "claim if 0"):
                self._next_step(data, data.draw(st.sampled_from(held), "hand"))
            else:
                self._claim(*self._where(data), 2)

    def _next_step(self, data: st.DataObject, hand: Hand) -> None:
        if hand.lane is Lane.SUBMIT and hand.upload is None and not hand.must_settle:
            self._begin_one(hand)
        elif hand.upload is not None and not hand.sent and self.model.admits(hand.token):
            self._record([], {hand.upload: hand})
        else:
            self._record([data.draw(a_verdict(hand), "verdict")], {})

    def _record(self, verdicts: list[Verdict], sending: dict[UploadId, Hand]) -> None:
        sends = [Sending(PROFILE, hand.file, upload) for upload, hand in sending.items()]
        done = self.both(
            lambda: self.store.record(verdicts, sends),
            lambda: self.model.record(verdicts, sends, self.model.admits),
        )
        for upload, hand in sending.items():
            hand.sent = hand.sent or upload in done

    # --- leases ---

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), number=st.integers(1, 2), code=st.sampled_from([None, *CODES]))
    def hand_back(self, data: st.DataObject, number: int, code: str | None) -> None:
        hands = [self.some(data) for _ in range(number)]
        given = [(hand.file, hand.token) for hand in hands if hand is not None]
        reason = None if code is None else ErrorNote(code, "words")
        self.repeatable(lambda: self._hand_back(given, reason))

    def _hand_back(self, given: list[tuple[FileId, LeaseToken]], reason: ErrorNote | None) -> None:
        self.store.hand_back(given, reason)
        self.model.hand_back(given, asked=reason is not None)

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), lease=st.sampled_from([10.0, LEASE]))
    def renew(self, data: st.DataObject, lease: float) -> None:
        hand = self.some(data)
        if hand is not None:
            self.store.renew([hand.token], lease)
            self.model.renew([hand.token], lease)


def _entry(file: ModelFile) -> LedgerEntry | None:
    upload = file.deciding
    if upload is None:
        return None
    theirs = upload.chatflow_file_id
    about_it = theirs is not None and theirs == file.chatflow_file_id
    status = file.service_status if about_it else None
    return LedgerEntry(upload.id, upload.state, theirs, status, *MEANT)
