"""What a worker may come to say about a file in its hand."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.contract.model.base import CATEGORIES, CODES, Hand
from worker.core.lifecycle import FileEventName, FileState, Lane
from worker.core.model.files import ErrorNote, UploadResult, UploadState
from worker.core.model.ids import UploadId
from worker.core.model.wire import Contents
from worker.core.verdicts import Accepted, Ended, Requeued, Resumed, StillPolling, Traits, Verdict

DEADLINE = 3600.0
WAITS = [0.0, 5.0, 100.0]

a_wait = st.sampled_from(WAITS)
an_error = st.builds(ErrorNote, st.sampled_from(CODES), st.just("words"))
contents = st.builds(Contents, st.sampled_from(["one", "two"]), st.none(), st.none())
perhaps_contents = st.none() | contents
perhaps_traits = st.none() | st.builds(
    Traits, st.sampled_from([None, *CATEGORIES]), st.sampled_from([7, 9])
)


def a_verdict(hand: Hand) -> st.SearchStrategy[Verdict]:
    """A verdict that the steps could come to: see `core/submission.py` and `core/polling.py`."""
    if hand.lane is Lane.POLL:
        return _polled(hand)
    if hand.upload is None:
        return _settled(hand) if hand.must_settle else _not_begun(hand)
    return _sent(hand, hand.upload) if hand.sent else _not_sent(hand, hand.upload)


def _polled(hand: Hand) -> st.SearchStrategy[Verdict]:
    file, token = st.just(hand.file), st.just(hand.token)
    going_on = st.builds(
        StillPolling, file, token, a_wait, st.sampled_from([1, 2, 4, 9]), failures=st.just(0)
    )
    parsed = st.builds(StillPolling, file, token, a_wait, st.just(5), contents)
    unanswered = st.builds(
        StillPolling, file, token, a_wait, failures=st.integers(1, 3), error=an_error,
        note=st.just(FileEventName.POLL_FAILED),
    )  # fmt: skip
    again = st.builds(
        Requeued, file, token, a_wait, an_error, status=st.just(3), asked=st.just(True),
        note=st.just(FileEventName.UPLOAD_FAILED),
    )  # fmt: skip
    well = st.builds(
        Ended, file, token, st.just(FileState.SUCCEEDED), status=st.just(7),
        contents=perhaps_contents, asked=st.just(True),
    )  # fmt: skip
    badly = st.builds(
        Ended, file, token,
        st.sampled_from([FileState.FAILED, FileState.PARTIAL, FileState.TIMED_OUT]),
        an_error, status=st.sampled_from([None, 6, 8]), contents=perhaps_contents,
        asked=st.just(True),
    )  # fmt: skip
    return st.one_of(going_on, parsed, unanswered, again, well, badly)


def _settled(hand: Hand) -> st.SearchStrategy[Verdict]:
    """An earlier upload comes first: it was taken, or nobody knows."""
    assert hand.deciding is not None
    if hand.deciding.state is UploadState.ACCEPTED:
        theirs = hand.deciding.chatflow_file_id or ""
        return st.just(
            Resumed(hand.file, hand.token, theirs, DEADLINE, hand.deciding.service_status)
        )
    return _not_accepted(hand, hand.deciding.id, [UploadState.UNKNOWN])


def _not_begun(hand: Hand) -> st.SearchStrategy[Verdict]:
    file, token = st.just(hand.file), st.just(hand.token)
    away = st.builds(
        Requeued, file, token, a_wait, an_error, failures=st.integers(1, 3), traits=perhaps_traits
    )
    ends = st.sampled_from([FileState.REJECTED, FileState.FAILED])
    return st.one_of(away, st.builds(Ended, file, token, ends, an_error, traits=perhaps_traits))


def _not_sent(hand: Hand, upload: UploadId) -> st.SearchStrategy[Verdict]:
    withdrawn = UploadResult(upload, UploadState.WITHDRAWN)
    rejected = Ended(
        hand.file, hand.token, FileState.REJECTED, ErrorNote(CODES[0], "words"), withdrawn
    )
    return st.just(rejected) | _not_accepted(hand, upload, [UploadState.WITHDRAWN])


def _sent(hand: Hand, upload: UploadId) -> st.SearchStrategy[Verdict]:
    sent = st.builds(
        Traits, st.sampled_from(CATEGORIES), st.just(7), st.just("0" * 64), st.just(hand.key)
    )
    accepted = st.builds(
        Accepted, st.just(hand.file), st.just(hand.token), st.just(upload),
        st.just(f"cf-{upload.int}"), sent, a_wait, st.sampled_from([60.0, DEADLINE]),
        st.sampled_from([None, 1, 5]),
    )  # fmt: skip
    ends = [UploadState.REFUSED, UploadState.UNKNOWN, UploadState.WITHDRAWN]
    return st.one_of(accepted, accepted, _not_accepted(hand, upload, ends))


def _not_accepted(
    hand: Hand, upload: UploadId, ends: list[UploadState]
) -> st.SearchStrategy[Verdict]:
    def verdict(end: UploadState, wait: float | None, error: ErrorNote) -> Verdict:
        result = UploadResult(upload, end, error=error)
        if wait is None and end is not UploadState.WITHDRAWN:
            return Ended(hand.file, hand.token, FileState.FAILED, error, result)
        name = FileEventName(f"upload_{end}")
        return Requeued(hand.file, hand.token, wait or 0.0, error, result, note=name)

    return st.builds(verdict, st.sampled_from(ends), st.none() | a_wait, an_error)
