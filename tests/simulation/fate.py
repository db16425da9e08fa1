"""What a seed decides: how the world is set up, and what befalls whom at which moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any

import anyio

from tests.simulation.loop import PROCESS, Process, VirtualLoop
from worker.core.lifecycle import SettleAt
from worker.core.rules import Rules
from worker.errors import StoreUnavailable

PROFILE = "default"


class Over(Exception):
    """The story has been told; whoever still wants something ends here."""


@dataclass(frozen=True)
class Dials:
    """How often what happens, per opportunity; zero for what does not happen in this seed."""

    kill: float
    freeze: float
    drain: float
    store_away: float
    store_refuses: float
    store_answer_lost: float
    wake_lost: float
    wake_twice: float
    unreachable: float
    busy: float
    fault: float
    refused: float
    reply_lost: float
    slow: float
    no_node: float
    credentials: float
    sweep_every: float
    trouble: float

    @classmethod
    def draw(cls, random: Random) -> Dials:
        """Each kind of trouble is absent in half of the seeds, so that others show alone."""

        def often(most: float) -> float:
            return random.uniform(0.0, most) if random.random() < 0.5 else 0.0

        return cls(
            kill=often(0.02),
            freeze=often(0.02),
            drain=often(0.1),
            store_away=often(0.01),
            store_refuses=often(0.05),
            store_answer_lost=often(0.05),
            wake_lost=often(0.7),
            wake_twice=often(0.5),
            unreachable=often(0.2),
            busy=often(0.2),
            fault=often(0.2),
            refused=often(0.15),
            reply_lost=often(0.3),
            slow=often(0.3),
            no_node=often(0.05),
            credentials=often(0.05),
            sweep_every=random.uniform(10.0, 60.0),
            trouble=random.uniform(20.0, 100.0),
        )


def draw_rules(random: Random) -> Rules:
    """A profile's limits and choices."""
    return Rules(
        profile=PROFILE,
        settle_at=random.choice([SettleAt.PARSE, SettleAt.FLOW]),
        poll_deadline=random.choice([20.0, 120.0, 600.0]),
        max_upload_attempts=random.randint(1, 5),
        on_unknown_upload=random.choice(["resubmit", "resubmit", "fail"]),
        max_concurrent_uploads=random.randint(1, 4),
        rate_limit=random.choice([None, None, 2.0]),
        poll_rate_limit=random.choice([None, None, 3.0]),
    )


class Fate:
    """One seed's will.

    Attributes:
        story: (moment, who, what) of everything that happened.
        faults: what must never happen and did.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.dials = Dials.draw(self.random)
        self.rules = draw_rules(self.random)
        self.loop = VirtualLoop(self.random)
        self.story: list[tuple[float, str, str, dict[str, Any]]] = []
        self.faults: list[str] = []
        self.calm = False
        self.over = False
        self.killed = self.frozen = self.drained = 0
        self._away_until = 0.0

    def tell(self, what: str, **fields: Any) -> None:
        """Add a line to the story."""
        if not self.over:
            self.story.append((self.loop.now, PROCESS.get(self.loop.world).name, what, fields))

    def chance(self, probability: float) -> bool:
        """Whether it happens; nothing does once the world has calmed down."""
        return not self.calm and probability > 0 and self.random.random() < probability

    @property
    def excuses_delay(self) -> bool:
        """Whether somebody was frozen, or waited for the database."""
        dials = self.dials
        return bool(
            self.frozen or dials.store_away or dials.store_refuses or dials.store_answer_lost
        )

    async def point(self, where: str) -> None:
        """A moment at which the process may be killed, or frozen for longer than its lease."""
        if self.over:
            raise Over
        process = PROCESS.get(self.loop.world)
        if process is self.loop.world:
            return
        if self.chance(self.dials.kill):
            self.kill(process, where)
        elif self.chance(self.dials.freeze):
            seconds = self.random.choice([5.0, 30.0, 70.0, 130.0]) * self.random.uniform(0.5, 1.2)
            self.tell("frozen", where=where, seconds=round(seconds))
            self.frozen += 1
            self.loop.freeze(process, seconds)
        else:
            return
        await asyncio.sleep(0)  # the dead never return from here

    def kill(self, process: Process, where: str) -> None:
        """As `kill -9` does."""
        self.tell("killed", where=where)
        self.killed += 1
        self.loop.kill(process)

    async def wait(self, typical: float) -> None:
        """Let some time go by, now and then much."""
        seconds = self.random.expovariate(1.0) * typical
        if self.chance(self.dials.slow):
            seconds *= self.random.choice([3, 10, 100])
        await asyncio.sleep(min(seconds, 45.0))

    async def in_thread(self, function: Any, *args: Any, **_: Any) -> Any:
        """Take the place of anyio's threads: the call is made in one piece, between two waits."""
        with anyio.CancelScope(shield=True):  # a thread that has begun can't be called back
            await self.point(f"before {_name(function)}")
            await asyncio.sleep(self._moment())
            result = function(*args)
            await asyncio.sleep(self._moment())
            await self.point(f"after {_name(function)}")
            return result

    def _moment(self) -> float:
        return 0.0 if self.random.random() < 0.7 else self.random.expovariate(100.0)

    # --- the database ---

    def before_store(self) -> None:
        """The database may be away, or refuse the connection."""
        if self.over:
            raise Over
        if self.loop.now < self._away_until:
            raise StoreUnavailable("away")
        if self.chance(self.dials.store_away):
            seconds = self.random.uniform(0.5, 60.0)
            self._away_until = self.loop.now + seconds
            self.tell("the database goes away", seconds=round(seconds))
            raise StoreUnavailable("away")
        if self.chance(self.dials.store_refuses):
            raise StoreUnavailable("refused")

    def after_store(self) -> None:
        """The answer of a transaction that was committed may be lost."""
        if self.chance(self.dials.store_answer_lost):
            self.tell("a commit's answer is lost")
            raise StoreUnavailable("lost")

    def calm_down(self) -> None:
        """No more trouble from now on."""
        self.tell("calm")
        self.calm = True
        self._away_until = 0.0


def _name(function: Any) -> str:
    return getattr(function, "__name__", None) or repr(function)[:40]
