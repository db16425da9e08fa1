"""One file's whole way to the service and back, without a database: what `doctor` tries.

Dialog, upload, polls until the service has settled; on a tape when there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio

from worker.adapters.chatflow.http_tape import TapedTransport
from worker.adapters.chatflow.talk import Connection
from worker.adapters.files.sources import FileSources
from worker.connections import dialogs_of, http_of, rules_of
from worker.core.lifecycle import FileState, ServiceStatus
from worker.core.model.files import ErrorNote
from worker.core.model.ids import FileId
from worker.core.outcome import Final, SubmitAgain, decide
from worker.core.planning import Assignment, Candidate, form_for, plan
from worker.core.timings import Timings
from worker.errors import ServiceBusy, ServiceFault, ServiceUnreachable

if TYPE_CHECKING:
    from worker.adapters.chatflow.http import HttpService
    from worker.adapters.chatflow.tape import Tape
    from worker.core.model.wire import DialogSession, StatusReply
    from worker.settings import Profile

FIRST_POLL, GROWTH, LONGEST_WAIT = 0.5, 1.5, 5.0
"""Seconds to the first status call, by how much each wait is longer, and the longest."""
PATIENCE = 900.0
"""Seconds of polling after which a trial gives up, if the poll deadline is not sooner."""
SHORTEST_STAY, LONGEST_STAY = 2.0, 15.0
"""Seconds for which a recording looks on after parsing, to see whether a flow follows."""


PARSED = int(ServiceStatus.PARSED)


class Trial:
    """Tries one profile's service with one file.

    Args:
        profile: whose service.
        files: paths, of which the first that some category takes is uploaded.
        roots: where the files may come from.
        tape: keeps everything, when given.
    """

    def __init__(
        self, profile: Profile, files: Sequence[str], roots: Sequence[str], tape: Tape | None
    ) -> None:
        self._profile = profile
        self._files = files
        self._sources = FileSources(roots, profile.max_file_bytes)
        self._tape = tape
        self._taped = None if tape is None else TapedTransport(tape)

    def check_files(self) -> None:
        """Look at the files before anything is sent.

        Raises:
            SourceRejected: one is missing, empty, outside of the roots and so on.
        """
        for path in self._files:
            self._sources.examine(path)

    async def dialog(self) -> DialogSession:
        """Open one dialog.

        Raises:
            IngestError: as `ports.service.Dialogs.open`.
        """
        tape = self._tape
        connection = Connection if tape is None else tape.connection()
        dialogs = dialogs_of(self._profile, connection=connection)
        try:
            return await dialogs.open()
        finally:
            await dialogs.aclose()

    def choose(self, session: DialogSession) -> Assignment | ErrorNote:
        """The first file that a category takes, or why none is taken."""
        candidates = [Candidate(FileId(uuid4()), path.rpartition("/")[2]) for path in self._files]
        found = plan(candidates, session.node.categories)
        taken = [place for load in found.loads for place in load.assignments]
        order = [candidate.file for candidate in candidates]
        if taken:
            return min(taken, key=lambda place: order.index(place.file))
        return found.rejections[0][1]

    async def send(self, session: DialogSession, place: Assignment) -> Seen:
        """Upload the file that was chosen, and poll until it has come to its end.

        Raises:
            IngestError: the file can't be read, or the service does not take it.
        """
        path = next(p for p in self._files if p.rpartition("/")[2] == place.name)
        http = http_of(self._profile, None if self._taped is None else self._taped.around)
        try:
            form = form_for(place, session.node, None)
            async with self._sources.open(path) as content:
                if self._tape is not None:
                    sent = self._tape.masker.value(asdict(form))
                    self._tape.note("upload", "sent", json=sent, bytes=content.size)
                reply = await http.upload(form, content)
            seen = await self._poll(http, reply.chatflow_file_id)
            if self._taped is not None:
                await self._taped.ask_bulk(
                    self._profile.base_url or "",
                    self._profile.credentials(),
                    reply.chatflow_file_id,
                )
            return seen
        finally:
            await http.aclose()

    async def _poll(self, http: HttpService, file_id: str) -> Seen:
        seen = Seen(self._profile, looks_on=self._tape is not None)
        began, wait = monotonic(), FIRST_POLL
        deadline = min(self._profile.poll_deadline, PATIENCE)
        while not seen.is_over:
            await anyio.sleep(wait)
            wait = min(wait * GROWTH, LONGEST_WAIT)
            elapsed = monotonic() - began
            try:
                seen.take(await http.ask(file_id), elapsed, expired=elapsed > deadline)
            except (ServiceBusy, ServiceFault, ServiceUnreachable):
                if elapsed > deadline:
                    raise
        return seen


class Seen:
    """What the status calls said, and when enough was seen.

    Attributes:
        statuses: in order, repeats left out.
        polls: how many calls were answered.
        state: how the file ended, once it has.
        error: what went with it.
        is_over: whether there is nothing more to look for.
    """

    def __init__(self, profile: Profile, *, looks_on: bool) -> None:
        self.statuses: list[int | None] = []
        self.polls = 0
        self.state: FileState | None = None
        self.error: ErrorNote | None = None
        self.is_over = False
        self._rules = rules_of(profile, Timings())
        self._looks_on = looks_on
        self._until = 0.0

    def take(self, reply: StatusReply, elapsed: float, *, expired: bool) -> None:
        """Take one reply, `elapsed` seconds after the upload."""
        self.polls += 1
        parsed = PARSED in self.statuses
        if not self.statuses or self.statuses[-1] != reply.status:
            self.statuses.append(reply.status)
        if self.state is None:
            self._judge(reply, elapsed, parsed=parsed, expired=expired)
        if self.state is not None:
            stays = self._looks_on and reply.status == PARSED
            self.is_over = not stays or elapsed >= self._until

    def _judge(self, reply: StatusReply, elapsed: float, *, parsed: bool, expired: bool) -> None:
        outcome = decide(
            reply,
            settle_at=self._rules.settle_at,
            parsed=parsed,
            expired=expired,
            flow_failed_succeeds=self._rules.flow_failed_succeeds,
        )
        match outcome:
            case Final(state, error):
                self.state, self.error = state, error
                self._until = elapsed + min(LONGEST_STAY, max(SHORTEST_STAY, elapsed))
            case SubmitAgain(error):
                self.state, self.error = FileState.FAILED, error
            case _:
                return
