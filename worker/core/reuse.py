"""The same bytes once: whose result a file may take over, and whose upload it waits for.

Files are alike when nothing that the service is told of them differs but their name and account
of themselves: content, profile, category, how it is parsed, inputs, and up to which status it is
followed. That is a file's `key`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from worker.core.lifecycle import FileState
from worker.core.model.ids import FileId, LeaseToken
from worker.core.model.wire import UploadForm
from worker.core.planning import format_of
from worker.core.rules import Rules

STRANGER_OVERDUE = 120.0
"""Seconds that a file of another crew may be overdue before nobody waits for it any more: what a
dead worker had in hand is taken up sooner than that."""

LOOK_AGAIN = 60.0
"""Seconds after which a file that waits for another one looks by itself; usually it is woken."""

_IN_FLIGHT = frozenset({FileState.SUBMITTING, FileState.POLLING})


def reuse_key(digest: str, category: str, form: UploadForm, rules: Rules) -> str:
    """What files have in common whose result is the same, as a hex digest.

    Args:
        digest: the content's SHA-256 in hex.
        category: as which it is uploaded.
        form: what is sent along.
        rules: the profile's.
    """
    inputs = None if form.inputs is None else json.loads(form.inputs)
    parts = [
        digest,
        rules.profile,
        rules.settle_at,
        rules.flow_failed_succeeds,
        category,
        format_of(form.file_name),
        form.flow_uuid,
        form.extra_params,
        form.file_format,
        form.parse_model,
        form.parse_prompt,
        inputs,
    ]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file in hand that is about to be uploaded; `size` in bytes."""

    file: FileId
    token: LeaseToken
    key: str
    category: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Twin:
    """Another file of the same key, as it stands.

    Attributes:
        ours: whether the same crew attends to it.
        overdue: seconds since it wanted attention.
        ended: seconds since it ended, None while it is open.
        has_contents: whether its result is still kept.
    """

    file: FileId
    key: str
    state: FileState
    ours: bool = True
    overdue: float = 0.0
    ended: float | None = None
    has_contents: bool = False

    @property
    def in_flight(self) -> bool:
        """Whether somebody is uploading it or asking for its result.

        One of another crew that nobody attends to holds nobody up: a run that was killed, say.
        """
        attended = self.ours or self.overdue < STRANGER_OVERDUE
        return self.state in _IN_FLIGHT and attended

    def usable(self, within: float) -> bool:
        """Whether its result may be taken over: not older than `within` seconds."""
        succeeded = self.state is FileState.SUCCEEDED and self.has_contents
        return succeeded and self.ended is not None and self.ended <= within


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The file has the result of this one."""

    origin: FileId


@dataclass(frozen=True, slots=True)
class WaitFor:
    """The file waits until this one has ended."""

    twin: FileId


@dataclass(frozen=True, slots=True)
class GoAhead:
    """The file is uploaded, and others like it wait for it."""


Decision = TakeOver | WaitFor | GoAhead


@dataclass(frozen=True, slots=True)
class Dealt:
    """What became of the files that somebody wanted to upload; the rest is not his any more."""

    upload: frozenset[FileId] = frozenset()
    reused: frozenset[FileId] = frozenset()
    waiting: frozenset[FileId] = frozenset()


def deal(wanted: Sequence[Wanted], twins: Iterable[Twin], within: float) -> dict[FileId, Decision]:
    """What each file does that is about to be uploaded.

    A result that is known comes before one that is on its way; of several the newest. Among the
    wanted themselves the first goes ahead. One that waits is waited for by nobody, so that no
    two ever wait for each other.
    """
    known: dict[str, Twin] = {}
    flying: dict[str, FileId] = {}
    mine = {each.file for each in wanted}
    for twin in twins:
        if twin.file in mine:
            continue
        if twin.usable(within) and _age(twin) < _age(known.get(twin.key)):
            known[twin.key] = twin
        elif twin.in_flight:
            flying.setdefault(twin.key, twin.file)
    decided: dict[FileId, Decision] = {}
    for each in wanted:
        if each.key in known:
            decided[each.file] = TakeOver(known[each.key].file)
        elif each.key in flying:
            decided[each.file] = WaitFor(flying[each.key])
        else:
            decided[each.file] = GoAhead()
            flying[each.key] = each.file
    return decided


def _age(twin: Twin | None) -> float:
    return float("inf") if twin is None or twin.ended is None else twin.ended
