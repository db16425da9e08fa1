"""The fake service with the manners of the real one: slow, busy, forgetful, sometimes wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.fakes import NODE, FakeService, on_the_way
from tests.simulation.fate import Fate
from tests.simulation.loop import PROCESS, Process
from worker.core.model.wire import DialogSession, StatusReply, UploadForm, UploadReply
from worker.errors import (
    CredentialsRefused,
    NoUploadNode,
    ServiceBusy,
    ServiceFault,
    ServiceUnreachable,
    UploadRefused,
    UploadUnknown,
)

FAILING = [
    (StatusReply(3, "upload failed", None, None), 2),
    (StatusReply(6, "parse failed", None, None), 2),
    (StatusReply(8, "flow failed", None, None), 1),
]


@dataclass
class Life:
    """What the service makes of one upload, and what it said about it: (from when, reply)."""

    id: str
    name: str
    at: float
    course: list[tuple[float, StatusReply]]
    said: list[tuple[float, int | None]] = field(default_factory=list)

    def reply(self, now: float) -> StatusReply:
        """The word of the hour."""
        return next(reply for since, reply in reversed(self.course) if since <= now)

    @property
    def text(self) -> str:
        return FakeService.text_of(self.id)


class TroubledService(FakeService):
    """A `FakeService` on virtual time, whose troubles come from the seed."""

    def __init__(self, fate: Fate) -> None:
        super().__init__(NODE)
        self._fate = fate
        self.lives: dict[str, Life] = {}
        self.begun: Counter[str] = Counter()
        self._under_way: list[tuple[Process, str]] = []
        self._closed_until = 0.0  # the credentials are not accepted

    # --- the ports ---

    async def open(self) -> DialogSession:
        fate = self._fate
        await fate.point("dialog")
        await fate.wait(0.2)
        self._meet(ServiceFault)
        if fate.chance(fate.dials.no_node):
            fate.tell("no upload node")
            raise NoUploadNode("the robot chats")
        session = await super().open()
        await fate.point("dialog open")
        return session

    async def upload(self, form: UploadForm, content) -> UploadReply:
        caller = (PROCESS.get(), form.file_name)
        self._under_way.append(caller)
        self._count()
        try:
            return await self._upload(form, content)
        finally:
            self._under_way.remove(caller)

    def _count(self) -> None:
        """No more uploads at once than allowed, but for a share that ended with its lease."""
        fate = self._fate
        number = sum(process.alive for process, _ in self._under_way)
        if number > fate.rules.max_concurrent_uploads and not (
            fate.frozen or fate.dials.store_away
        ):
            fate.faults.append(f"{number} uploads at once at {fate.loop.now:.3f}")

    async def _upload(self, form: UploadForm, content) -> UploadReply:
        fate, name = self._fate, form.file_name
        self.begun[name] += 1
        fate.tell("upload", file=name)
        await fate.point("upload")
        if fate.chance(fate.dials.unreachable):
            self.begun[name] -= 1  # for certain nothing was sent
            raise ServiceUnreachable("no connection")
        data = b"".join([chunk async for chunk in content.chunks()])
        await fate.wait(0.3)
        self._meet(UploadUnknown)
        if fate.chance(fate.dials.refused):
            raise UploadRefused("no", permanent=fate.random.random() < 0.3)
        life = self._live(form, data)
        fate.tell("taken", file=name, id=life.id)
        await fate.point("upload taken")
        await fate.wait(0.3)
        if fate.chance(fate.dials.reply_lost):
            fate.tell("reply lost", id=life.id)
            raise UploadUnknown("the reply was lost")
        return UploadReply(life.id, 1)

    async def ask(self, chatflow_file_id: str) -> StatusReply:
        fate = self._fate
        await fate.point("status")
        await fate.wait(0.1)
        self._meet(ServiceFault)
        life = self.lives[chatflow_file_id]
        reply = life.reply(fate.loop.now)
        life.said.append((fate.loop.now, reply.status))
        fate.tell("says", id=life.id, status=reply.status)
        await fate.wait(0.1)
        if fate.chance(fate.dials.reply_lost):
            raise ServiceFault("the reply was lost")
        return reply

    # --- troubles ---

    def _meet(self, fault: type[ServiceFault | UploadUnknown]) -> None:
        """What may happen to any call."""
        fate, dials = self._fate, self._fate.dials
        if fate.loop.now < self._closed_until and not fate.calm:
            raise CredentialsRefused("no such key")
        if fate.chance(dials.credentials):
            self._closed_until = fate.loop.now + fate.random.uniform(1.0, 60.0)
            fate.tell("credentials are refused", until=round(self._closed_until))
            raise CredentialsRefused("no such key")
        if fate.chance(dials.unreachable):
            raise fault("no connection") if fault is UploadUnknown else ServiceUnreachable("away")
        if fate.chance(dials.busy):
            after = fate.random.choice([None, 0.5, 5.0, 30.0])
            everything = fate.random.random() < 0.5
            fate.tell("busy", everything=everything, after=after)
            raise ServiceBusy("slow down", retry_after=after, everything=everything)
        if fate.chance(dials.fault):
            raise fault("it broke")

    def _live(self, form: UploadForm, data: bytes) -> Life:
        taken = self.take(form, data)
        now, random = self._fate.loop.now, self._fate.random
        text = self.text_of(taken.id)
        ready = now + random.expovariate(1.0) * random.choice([1.0, 5.0, 60.0])
        course = [(now, on_the_way(1)), (now + (ready - now) * random.random(), on_the_way(4))]
        course += self._ending(ready, text)
        life = Life(taken.id, form.file_name, now, course)
        self.lives[taken.id] = life
        return life

    def _ending(self, ready: float, text: str) -> list[tuple[float, StatusReply]]:
        random, dials = self._fate.random, self._fate.dials
        failing = random.random()
        if failing < dials.fault:
            reply = random.choices([r for r, _ in FAILING], [w for _, w in FAILING])[0]
            return [(ready, reply)]
        if failing < dials.fault * 2:  # a failed flow that brought something
            return [(ready, StatusReply(8, "flow failed", text, None))]
        later = ready + random.expovariate(1.0) * 5.0
        return [(ready, StatusReply(5, "", text, None)), (later, StatusReply(7, "", text, None))]
