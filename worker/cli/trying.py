"""``doctor --canary`` and ``--record``: one file all the way, and what was seen on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TextIO

from worker.cli.checks import Check, faults, offer, service_cure
from worker.core.lifecycle import FileState
from worker.core.model.files import ErrorNote
from worker.core.words import counted
from worker.errors import ConfigurationError, IngestError, SourceRejected, UsageError

if TYPE_CHECKING:
    from worker.adapters.chatflow.tape import Tape
    from worker.core.expectations import Difference
    from worker.core.model.wire import DialogSession
    from worker.core.planning import Assignment
    from worker.settings import Profile, Settings
    from worker.trial import Seen, Trial

WELL = frozenset({FileState.SUCCEEDED, FileState.PARTIAL})
TOLD = ("CHATFLOW_SETTLE_AT", "CHATFLOW_SUCCESS_STATUSES", "CHATFLOW_MESSAGE_SOURCE")
"""Settings that a recording tells, since they explain what is on it."""


class Attempt:
    """One file sent to a profile's service, recorded if wanted.

    Attributes:
        profile: whose service.
        differences: how a recording differs from what is expected, afterwards.
        was_recorded: whether there is a recording.
    """

    def __init__(self, profile: str, canary: Path | None, record: Path | None) -> None:
        self.profile = profile
        self.differences: Sequence[Difference] = ()
        self.was_recorded = False
        self._canary = canary
        self._record = record

    def checks(self, settings: Settings) -> Iterator[Check]:
        """The dialog, the file's way, and the recording.

        Raises:
            UsageError: the recording can't be written.
        """
        label = f"service {self.profile}"
        try:
            profile = settings.profile(self.profile)
        except ConfigurationError as error:
            yield from faults(label, error)
            return
        with TemporaryDirectory() as folder, self._tape(profile) as tape:
            yield from self._tried(label, profile, settings, Path(folder), tape)
        if tape is not None:
            yield self._kept(tape, profile)

    def _tried(
        self, label: str, profile: Profile, settings: Settings, folder: Path, tape: Tape | None
    ) -> Iterator[Check]:
        import anyio

        from worker.trial import Trial

        files, roots = self._files(settings, folder)
        trial = Trial(profile, files, roots, tape)
        try:
            trial.check_files()
            session = anyio.run(trial.dialog)
        except SourceRejected as error:
            yield Check("canary", ok=False, detail=error.message, cure="name another file")
            return
        except IngestError as error:
            if tape is not None:
                tape.note("dialog", "failed", error=tape.masker.words(error.message))
            yield Check(label, ok=False, detail=error.message, cure=service_cure(error))
            return
        yield Check(label, ok=True, detail=offer(session))
        yield self._sent(trial, session)

    def _files(self, settings: Settings, folder: Path) -> tuple[list[str], list[str]]:
        """What may be sent, and the roots that it may come from."""
        if self._canary is not None:
            return [str(self._canary.absolute())], [r for r in settings.roots if "://" not in r]
        from worker.simulator import write_samples

        return [str(path) for path in write_samples(folder)], [str(folder)]

    def _sent(self, trial: Trial, session: DialogSession) -> Check:
        place = trial.choose(session)
        if isinstance(place, ErrorNote):
            cure = "name a file that the service takes with --canary"
            return Check("canary", ok=False, detail=place.message, cure=cure)
        import anyio

        try:
            seen = anyio.run(trial.send, session, place)
        except IngestError as error:
            detail = f"{place.name}: {error.message}"
            return Check("canary", ok=False, detail=detail, cure=service_cure(error))
        return _ended(place, seen)

    @contextmanager
    def _tape(self, profile: Profile) -> Iterator[Tape | None]:
        if self._record is None:
            yield None
            return
        from worker.adapters.chatflow.tape import Tape
        from worker.core.masking import Masker

        with _private(self._record) as file:
            tape = Tape(file, Masker(profile.credentials()))
            tape.begin(_version(), _told(profile))
            yield tape

    def _kept(self, tape: Tape, profile: Profile) -> Check:
        from worker.core.expectations import differences

        self.differences = differences(_told(profile), tape.events)
        self.was_recorded = True
        events = counted(len(tape.events), "event")
        detail = f"{events} in {self._record}, masked; read it before you send it"
        return Check("recording", ok=True, detail=detail)


def _ended(place: Assignment, seen: Seen) -> Check:
    assert seen.state is not None
    way = ", ".join(str(status) for status in seen.statuses)
    detail = (
        f'{place.name} as "{place.category.name}": {seen.state} after status {way}'
        f" in {counted(seen.polls, 'poll')}"
    )
    if seen.error is not None:
        detail += f"; {seen.error.message}"
    cure = "" if seen.state in WELL else "see the message, and the flow itself"
    return Check("canary", ok=seen.state in WELL, detail=detail, cure=cure)


def _told(profile: Profile) -> dict[str, object]:
    values = {
        str(field.alias): getattr(profile, name)
        for name, field in type(profile).model_fields.items()
        if field.alias in TOLD
    }
    told: dict[str, object] = {name: _as_written(value) for name, value in values.items()}
    credentials = profile.credentials()
    told["percent_in_credentials"] = "%" in credentials.robot_key + credentials.robot_token
    told["opens_flow_directly"] = profile.flow_uuid is not None
    return told


def _as_written(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@contextmanager
def _private(path: Path) -> Iterator[TextIO]:
    """A new file that only its owner reads; one that was there is written anew.

    Raises:
        UsageError: it can't be written.
    """
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UsageError(f"--record: {path}: {error.strerror}") from None
    with os.fdopen(number, "w", encoding="utf-8") as file:
        yield file


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"chatflow-ingest {version('chatflow-ingest')}"
    except PackageNotFoundError:
        return "chatflow-ingest"
