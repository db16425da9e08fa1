"""What becomes of a file: its status over time and the reply to each status call."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, assert_never

from worker.simulator.behaviours import Behaviour, Fixed, Immediate, Lognormal, Step
from worker.simulator.contents import Json, names_the_file, render

if TYPE_CHECKING:
    from worker.simulator.behaviours import Content, Early, Path_, Rule, TimeToReady
    from worker.simulator.scenario import Scenario

LASTING = frozenset({5, 6, 7, 8})
"""The statuses that may be a file's last."""

_STANDS = LASTING | {3}
_FAILURES = {3: "upload failed", 6: "parse failed", 8: "flow failed"}
_WITH_CONTENT = frozenset({5, 7, 8})
_Z95 = 1.6448536269514722  # the 95th percentile of the standard normal distribution


class StatusMoment(NamedTuple):
    """When a status begins, in multiples of the time to ready; `early` as in `Step`."""

    at: float
    status: int
    early: bool = False

    @property
    def settled(self) -> bool:
        """Whether it may be the file's last, and brings what there is."""
        return self.status in LASTING and not self.early


def timeline(path: Path_) -> tuple[StatusMoment, ...]:
    """When each status begins.

    A path of bare numbers is spread evenly before its first standing status (3, 5 to 8), which
    begins at 1; each one after it takes half as long again.
    """
    if isinstance(path[0], Step):
        return tuple(
            StatusMoment(step.at, step.status, step.early)
            for step in path
            if isinstance(step, Step)
        )
    statuses = [step for step in path if isinstance(step, int)]
    standing = [place for place, status in enumerate(statuses) if status in _STANDS]
    ready = standing[0] if standing else len(statuses) - 1
    return tuple(
        StatusMoment(
            place / ready if place < ready else float(place > 0) + (place - ready) / 2, status
        )
        for place, status in enumerate(statuses)
    )


def draw(wait: TimeToReady, dice: random.Random) -> float:
    """A time to ready, seconds."""
    match wait:
        case Immediate():
            return 0.0
        case Fixed():
            return wait.seconds
        case Lognormal():
            sigma = math.log(wait.p95 / wait.median) / _Z95
            return dice.lognormvariate(math.log(wait.median), sigma)
        case _:
            assert_never(wait)


@dataclass(frozen=True, slots=True)
class StatusPlan:
    """One behaviour, made ready to answer quickly for many files."""

    wait: TimeToReady
    line: tuple[StatusMoment, ...]
    error_msg: str | None
    parse_content: Content
    llm_content: Content
    early: Early
    same_for_all: bool
    tails: dict[StatusMoment, bytes] = field(default_factory=dict)

    @property
    def first_status(self) -> int:
        """The status in the reply to the upload itself."""
        return self.line[0].status

    @property
    def ready_at(self) -> float | None:
        """When the first settled status begins, in times to ready; None if there is none."""
        return next((moment.at for moment in self.line if moment.settled), None)

    def moment(self, elapsed: float, scale: float) -> StatusMoment:
        """What holds `elapsed` seconds after the upload of a file with this time to ready."""
        for current, following in pairwise(self.line):
            if elapsed < following.at * scale:
                return current
        return self.line[-1]

    def error(self, status: int) -> str:
        """The `error_msg` that goes with a status."""
        if status not in _FAILURES:
            return ""
        return _FAILURES[status] if self.error_msg is None else self.error_msg

    def contents(self, status: int, file_name: str) -> tuple[Json, Json]:
        """`parse_content` and `llm_content` as they stand once a status is no longer early."""
        if status not in _WITH_CONTENT:
            return (None if status in _FAILURES else self._early(file_name)), None
        answered = status != 5 or self.line[-1].status == 5
        llm = render(self.llm_content, file_name) if answered else None
        return render(self.parse_content, file_name), llm

    def tail(self, moment: StatusMoment, file_name: str) -> bytes:
        """The contents' end of a status reply, kept when it is the same for every file."""
        if moment in self.tails:
            return self.tails[moment]
        tail = self._tail(moment, file_name)
        with_content = moment.status in _WITH_CONTENT and not moment.early
        if self.same_for_all or (not with_content and self.early != "half"):
            self.tails[moment] = tail
        return tail

    def _tail(self, moment: StatusMoment, file_name: str) -> bytes:
        early = moment.early
        parse, llm = (
            (self._early(file_name), None) if early else self.contents(moment.status, file_name)
        )
        return (
            f',"error_msg":{json.dumps(self.error(moment.status), ensure_ascii=False)}'
            f',"parse_content":{json.dumps(parse)},"llm_content":{json.dumps(llm)}}}}}'
        ).encode()

    def _early(self, file_name: str) -> Json:
        match self.early:
            case "null":
                return None
            case "empty_text":
                return ""
            case "empty_list":
                return []
            case "half":
                whole = json.dumps(render(self.parse_content, file_name))
                return whole[: len(whole) // 2]
            case _:
                assert_never(self.early)


class Plans:
    """The plans of a scenario and the choice among them by file name."""

    def __init__(self, scenario: Scenario) -> None:
        self._seed = scenario.seed
        self._default = _plan(scenario, Behaviour())
        self._rules = [(rule, _plan(scenario, rule)) for rule in scenario.rules]
        self._counting = any(rule.uploads for rule in scenario.rules)
        self._uploads: Counter[str] = Counter()
        self._dice = random.Random()  # noqa: S311 - waiting times, not secrets

    def choose(self, file_name: str) -> StatusPlan:
        """The first rule's plan that matches this upload, else the scenario's own."""
        if self._counting:
            self._uploads[file_name] += 1
        for rule, plan in self._rules:
            if fnmatchcase(file_name, rule.file_name) and self._is_due(rule, file_name):
                return plan
        return self._default

    def _is_due(self, rule: Rule, file_name: str) -> bool:
        return rule.uploads is None or self._uploads[file_name] in rule.uploads

    def time_to_ready(self, plan: StatusPlan, file_name: str, sha256: str | None) -> float:
        """Draw a time; with a seed the same file always gets the same, in whatever order."""
        if self._seed is None:
            return draw(plan.wait, self._dice)
        dice = random.Random(f"{self._seed}:{file_name}:{sha256}")  # noqa: S311 - as above
        return draw(plan.wait, dice)


def _plan(scenario: Scenario, rule: Behaviour) -> StatusPlan:
    parse = rule.parse_content or scenario.parse_content
    llm = rule.llm_content or scenario.llm_content
    return StatusPlan(
        wait=rule.time_to_ready or scenario.time_to_ready,
        line=timeline(rule.path or scenario.path),
        error_msg=rule.error_msg,
        parse_content=parse,
        llm_content=llm,
        early=rule.early_content or scenario.early_content,
        same_for_all=not (names_the_file(parse) or names_the_file(llm)),
    )
