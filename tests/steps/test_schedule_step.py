from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import anyio
import pytest

from tests.fakes import Events, FakeContent
from worker.core.model.files import ErrorNote, Examined
from worker.core.model.fleet import Leftover, SeenFile
from worker.core.model.ids import BatchId, FileId
from worker.core.model.stories import FileResult
from worker.core.schedule import Schedule
from worker.errors import SourceRejected, StoreUnavailable
from worker.ports.sources import SourceContent
from worker.steps.schedule import HandIn, ScheduleDeps, fire_due
from worker.steps.stopping import Stopping

pytestmark = pytest.mark.anyio

START = datetime(2026, 11, 22, 10, 0, 30, tzinfo=UTC).timestamp()


class Killed(BaseException):
    """The worker dies here."""


class Store:
    """What schedules remember, in memory; `dies_in` names a call that kills the worker."""

    def __init__(self) -> None:
        self.time = START
        self.leader: tuple[str, float] = ("", 0.0)
        self.fired: dict[str, float] = {}
        self.memory: dict[tuple[str, str], SeenFile] = {}
        self.uploaded: dict[str, str] = {}
        self.dies_in = ""
        self.everybody_leads = False

    def _live(self, name: str) -> None:
        if self.dies_in == name:
            raise Killed

    def now(self) -> float:
        return self.time

    def lead(self, holder: str, lease: float) -> bool:
        other, until = self.leader
        if self.everybody_leads:
            return True
        if other != holder and until > self.time:
            return False
        self.leader = (holder, self.time + lease)
        return True

    def results(self, batch: BatchId, states: object = None) -> Iterator[FileResult]:
        for source, digest in self.uploaded.items():
            yield cast("FileResult", SimpleNamespace(source=source, sha256=digest))

    def last_due(self, schedule: str) -> float | None:
        return self.fired.get(schedule)

    def fire(self, schedule: str, due: float) -> bool:
        self._live("fire")
        if self.fired.get(schedule, 0.0) >= due:
            return False
        self.fired[schedule] = due
        return True

    def unseen(self, schedule: str, files: Iterable[SeenFile]) -> list[SeenFile]:
        known = {
            (f.source, f.size, f.mtime_ns) for (s, _), f in self.memory.items() if s == schedule
        }
        return [file for file in files if (file.source, file.size, file.mtime_ns) not in known]

    def seen_digest(self, schedule: str, source: str) -> str | None:
        file = self.memory.get((schedule, source))
        return file.sha256 if file else None

    def remember(self, schedule: str, files: Sequence[SeenFile]) -> None:
        self._live("remember")
        self.memory.update({(schedule, file.source): file for file in files})

    def leftovers(self, limit: int, after: FileId | None = None) -> list[Leftover]:
        raise NotImplementedError

    def taken_away(self, file: FileId, error: ErrorNote | None = None) -> None:
        raise NotImplementedError


class Disk:
    """A folder in memory: listing and sources at once."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, int]] = {}
        self.refused: dict[str, str] = {}
        self.looks = 0

    def write(self, name: str, data: bytes, time: int = 1) -> None:
        self.files[f"/in/{name}"] = (data, time)

    def look(
        self, paths: Sequence[str], *, glob: str | None = None, recursive: bool = False
    ) -> list[SeenFile]:
        self.looks += 1
        return [
            SeenFile(source, len(data), time)
            for source, (data, time) in sorted(self.files.items())
            if any(source == path or source.startswith(f"{path}/") for path in paths)
        ]

    def examine(self, source: str) -> Examined:
        raise NotImplementedError

    @asynccontextmanager
    async def open(self, source: str) -> AsyncIterator[SourceContent]:
        if source in self.refused:
            raise SourceRejected("no", code=self.refused[source])
        yield FakeContent(source, self.files[source][0])


class Intake:
    """The batches that were handed in, by their keys."""

    def __init__(self) -> None:
        self.batches: dict[str, set[str]] = {}
        self.calls: list[dict[str, object]] = []
        self.error: BaseException | None = None
        self.dies_after = False

    def __call__(
        self,
        *,
        profile: str,
        external_key: str,
        category: str | None,
        after: str,
        sources: Sequence[str],
    ) -> tuple[BatchId, int]:
        if self.error is not None:
            raise self.error
        batch = self.batches.setdefault(external_key, set())
        new = len(set(sources) - batch)
        batch.update(sources)
        self.calls.append({"profile": profile, "category": category, "after": after})
        if self.dies_after:
            raise Killed
        return BatchId(UUID(int=1)), new


class Pause(Stopping):
    """A wait that takes no time, in which something may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []
        self.meanwhile: Callable[[], object] = list

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.meanwhile()
        await anyio.lowlevel.checkpoint()


class Scene:
    def __init__(self) -> None:
        self.store, self.disk, self.intake = Store(), Disk(), Intake()
        self.events, self.pause = Events(), Pause()
        self.world = ScheduleDeps(
            self.store, self.disk, self.disk, self.intake, self.events, self.pause
        )

    async def tick(self, *schedules: Schedule, holder: str = "one") -> list[str]:
        return await fire_due(self.world, schedules or [MINUTELY], holder)

    async def started(self) -> Scene:
        """The schedule has been seen, and a minute has gone by."""
        await self.tick()
        self.store.time += 60
        return self

    def handed_in(self) -> list[set[str]]:
        return list(self.intake.batches.values())


MINUTELY = Schedule(
    name="calls", cron="* * * * *", paths=("/in",), category="Audio", after="delete"
)


async def test_a_schedule_seen_for_the_first_time_starts_from_now() -> None:
    scene = Scene()
    scene.disk.write("old.wav", b"1")
    assert await scene.tick() == []
    assert scene.handed_in() == []
    assert await scene.tick() == []


async def test_a_firing_hands_in_a_batch_that_names_schedule_and_due_time() -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1")
    assert await scene.tick() == ["calls"]
    assert scene.intake.batches == {"schedule:calls:2026-11-22T10:01:00+00:00": {"/in/a.wav"}}
    assert scene.intake.calls == [{"profile": "default", "category": "Audio", "after": "delete"}]
    assert await scene.tick() == []
    assert len(scene.intake.calls) == 1


async def test_without_a_new_file_there_is_no_batch() -> None:
    scene = await Scene().started()
    assert await scene.tick() == ["calls"]
    assert scene.handed_in() == []
    assert scene.pause.waited == []


async def test_missed_firings_are_caught_up_once() -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1")
    scene.store.time += 3 * 3600
    assert await scene.tick() == ["calls"]
    assert scene.handed_in() == [{"/in/a.wav"}]
    assert await scene.tick() == []


async def test_an_unchanged_file_is_handed_in_once() -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1")
    await scene.tick()
    scene.store.time += 60
    await scene.tick()
    assert len(scene.handed_in()) == 1


async def test_a_touched_file_with_the_same_contents_is_not_handed_in_again() -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1", time=1)
    await scene.tick()
    scene.store.time += 60
    scene.disk.write("a.wav", b"1", time=2)
    await scene.tick()
    assert len(scene.handed_in()) == 1
    assert scene.store.unseen("calls", scene.disk.look(["/in"])) == []


async def test_a_changed_file_is_handed_in_again() -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1", time=1)
    await scene.tick()
    scene.store.time += 60
    scene.disk.write("a.wav", b"2", time=2)
    await scene.tick()
    assert scene.handed_in() == [{"/in/a.wav"}, {"/in/a.wav"}]


async def test_a_file_still_being_written_is_left_for_the_next_round() -> None:
    scene = await Scene().started()
    scene.disk.write("done.wav", b"1")
    scene.disk.write("growing.wav", b"1")
    scene.disk.write("gone.wav", b"1")

    def meanwhile() -> None:
        scene.disk.write("growing.wav", b"12")
        scene.disk.files.pop("/in/gone.wav", None)

    scene.pause.meanwhile = meanwhile
    await scene.tick()
    assert scene.handed_in() == [{"/in/done.wav"}]
    assert scene.pause.waited == [5.0]  # one wait for all files
    assert scene.events.events[-1][1]["still_written"] == 2
    scene.store.time += 60
    await scene.tick()
    assert scene.handed_in() == [{"/in/done.wav"}, {"/in/growing.wav"}]


async def test_stable_for_nothing_needs_no_wait() -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1")
    await scene.tick(MINUTELY.model_copy(update={"stable_for": 0.0}))
    assert scene.pause.waited == []
    assert scene.handed_in() == [{"/in/a.wav"}]


async def test_a_file_that_may_not_be_read_is_handed_in_to_be_rejected_once() -> None:
    scene = await Scene().started()
    for name, code in (("empty.wav", "empty"), ("gone.wav", "not_found"), ("c.wav", "changed")):
        scene.disk.write(name, b"")
        scene.disk.refused[f"/in/{name}"] = code
    await scene.tick()
    scene.store.time += 60
    await scene.tick()
    assert scene.handed_in() == [{"/in/empty.wav"}]


async def test_only_one_of_many_ticks_fires() -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1")
    results: list[list[str]] = []

    async def tick(holder: str) -> None:
        results.append(await scene.tick(holder=holder))

    async with anyio.create_task_group() as tasks:
        for holder in ("one", "two", "three"):
            tasks.start_soon(tick, holder)
    assert sorted(results) == [[], [], ["calls"]]
    assert len(scene.intake.calls) == 1


async def test_the_lead_is_given_up_after_a_tick() -> None:
    scene = await Scene().started()
    await scene.tick(holder="one")
    scene.store.time += 60
    scene.disk.write("a.wav", b"1")
    assert await scene.tick(holder="two") == ["calls"]


async def test_two_that_fire_at_once_make_one_batch() -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1")
    scene.store.everybody_leads = True
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(scene.tick)
    assert scene.handed_in() == [{"/in/a.wav"}]


@pytest.mark.parametrize("place", ["in the intake", "after the intake", "remember", "fire"])
async def test_a_firing_that_was_cut_short_is_completed(place: str) -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1")
    scene.intake.error = Killed() if place == "in the intake" else None
    scene.intake.dies_after = place == "after the intake"
    scene.store.dies_in = place
    with pytest.raises(BaseExceptionGroup):
        await scene.tick()
    scene.intake.error, scene.intake.dies_after, scene.store.dies_in = None, False, ""
    scene.store.time += 150  # the next due times have passed meanwhile
    scene.disk.write("b.wav", b"2")
    await scene.tick(holder="another")
    assert scene.intake.batches == {
        "schedule:calls:2026-11-22T10:01:00+00:00": {"/in/a.wav", "/in/b.wav"}
    }
    assert scene.store.unseen("calls", scene.disk.look(["/in"])) == []
    scene.store.time += 60
    await scene.tick()
    assert len(scene.handed_in()) == 1


async def test_a_file_that_changed_while_its_firing_was_cut_short_is_handed_in_again() -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1")
    scene.disk.write("b.wav", b"1")
    scene.store.dies_in = "remember"
    with pytest.raises(BaseExceptionGroup):
        await scene.tick()
    scene.store.dies_in = ""
    uploaded = hashlib.sha256(b"1").hexdigest()
    scene.store.uploaded = {"/in/a.wav": uploaded, "/in/b.wav": uploaded}
    scene.disk.write("a.wav", b"2", time=2)
    await scene.tick(holder="another")
    scene.store.time += 60
    await scene.tick()
    assert scene.handed_in() == [{"/in/a.wav", "/in/b.wav"}, {"/in/a.wav"}]


async def test_one_schedules_fault_is_no_other_schedules() -> None:
    scene = Scene()
    other = MINUTELY.model_copy(update={"name": "other"})
    await scene.tick(MINUTELY, other)
    scene.store.time += 60
    scene.disk.write("a.wav", b"1")
    bad = replace(scene.world, hand_in=_refuses_other(scene.intake))
    assert await fire_due(bad, [other, MINUTELY], "one") == ["calls"]
    failed = [fields for name, fields in scene.events.events if name == "schedule_failed"]
    assert [fields["schedule"] for fields in failed] == ["other"]
    assert await scene.tick(MINUTELY, other) == ["other"]  # tried again by the next tick


def _refuses_other(intake: Intake) -> HandIn:
    def hand_in(*, external_key: str, **options: Any) -> tuple[BatchId, int]:
        if ":other:" in external_key:
            raise StoreUnavailable("away")
        return intake(external_key=external_key, **options)

    return hand_in


async def test_a_worker_that_stops_leaves_the_firing_to_the_next_tick() -> None:
    scene = await Scene().started()
    scene.disk.write("a.wav", b"1")
    scene.pause.meanwhile = scene.pause.set
    assert await scene.tick() == []
    assert scene.handed_in() == []
    assert scene.store.fired["calls"] < scene.store.time - 30
