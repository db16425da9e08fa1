"""`make bench-plots`: what schedules of status calls cost, and how late they notice.

Simulated on the benches' times to ready, without any service; draws tests/bench/schedules.png and
prints the figures.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from math import erf, log, sqrt
from pathlib import Path
from random import Random
from statistics import fmean, quantiles

import matplotlib as mpl
import numpy as np

from tests.bench.scenery import MEDIAN, P95
from worker.core.pacing import poll_wait
from worker.core.ready_times import Sketch, schedule_for

mpl.use("Agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "schedules.png"
FILES = 20_000
HISTORY = 2_000
PRICES = (0.25, 0.5, 1.0, 2.0, 4.0)
SIGMA = log(P95 / MEDIAN) / 1.6448536

Wait = Callable[[float, int], float]
"""From a file's age and its status calls so far to the seconds until the next one."""


@dataclass(frozen=True)
class Point:
    """One schedule's figures; lags in seconds."""

    family: str
    label: str
    polls: float
    mean: float
    median: float
    p95: float


def ready_times(count: int, seed: int) -> list[float]:
    random = Random(seed)
    return [MEDIAN * random.lognormvariate(0, SIGMA) for _ in range(count)]


def asked_at(ready: float, wait: Wait) -> list[float]:
    """The ages at which a file is asked about, up to the one that finds it ready."""
    ages: list[float] = []
    age = 0.0
    while age < ready:
        age += wait(age, len(ages))
        ages.append(age)
    return ages


def simulate(family: str, label: str, wait: Wait) -> Point:
    times = ready_times(FILES, seed=11)
    asked = [asked_at(ready, wait) for ready in times]
    lags = [ages[-1] - ready for ages, ready in zip(asked, times, strict=True)]
    cuts = quantiles(lags, n=100)
    return Point(family, label, fmean(map(len, asked)), fmean(lags), cuts[49], cuts[94])


# --- schedules -----------------------------------------------------------------------------------


def fixed(seconds: float) -> Wait:
    return lambda _age, _polls: seconds


def growing(_age: float, polls: int) -> float:
    return min(1.5**polls, 5.0)


def jittered() -> Wait:
    random = Random(5)
    return lambda _age, polls: random.uniform(0, min(2.0 ** (polls + 1), 30.0))


def learned(price: float) -> Wait:
    """What the worker does once it has seen some thousand files, having learned by polling."""
    sketch = Sketch()
    for ready in ready_times(HISTORY, seed=3):
        now = sketch
        ages = asked_at(ready, lambda age, polls: schedule_for(now, price).wait(age, polls))  # noqa: B023 - called at once
        sketch = sketch.add(ages[-1], ages[-2] if len(ages) > 1 else 0.0)
    return lambda age, polls: schedule_for(sketch, price).wait(age, polls)


def best(price: float) -> Wait:
    """The cheapest placement for the very distribution, worked out backwards on a fine grid."""
    ages = np.concatenate([np.arange(0, 10, 0.02), np.geomspace(10, 120, 400)])
    ready = np.array([_ready_by(age) for age in ages])
    area = np.concatenate([[0], np.cumsum((ready[1:] + ready[:-1]) / 2 * np.diff(ages))])
    costs, targets = np.zeros(len(ages)), np.full(len(ages), ages[-1])
    for here in range(len(ages) - 2, -1, -1):
        lag = area[here + 1 :] - area[here] - ready[here] * (ages[here + 1 :] - ages[here])
        whole = price * (1 - ready[here]) + lag + costs[here + 1 :]
        cheapest = int(np.argmin(whole))
        costs[here], targets[here] = whole[cheapest], ages[here + 1 + cheapest]
    known, goals = ages.tolist(), targets.tolist()

    def wait(age: float, polls: int) -> float:
        if age >= known[-2]:
            return poll_wait(polls, age)
        return max(goals[bisect_left(known, age - 1e-9)] - age, 0.02)

    return wait


def _ready_by(age: float) -> float:
    return (1 + erf(log(age / MEDIAN) / SIGMA / sqrt(2))) / 2 if age > 0 else 0.0


def points() -> list[Point]:
    return [
        *(simulate("fixed", f"{s} s", fixed(s)) for s in (1, 2, 3, 5)),
        simulate("1 s x 1.5, cap 5 s", "", growing),
        simulate("exponential, full jitter, cap 30 s", "", jittered()),
        *(simulate("learned, by price of a call", f"{p:g} s", learned(p)) for p in PRICES),
        *(simulate("best for the known distribution", f"{p:g} s", best(p)) for p in PRICES),
    ]


# --- showing -------------------------------------------------------------------------------------


def draw(found: list[Point]) -> None:
    figure, panels = plt.subplots(1, 2, figsize=(12, 5), sharex=True)
    for panel, name in zip(panels, ("mean", "p95"), strict=True):
        for family in dict.fromkeys(point.family for point in found):
            mine = sorted((p for p in found if p.family == family), key=lambda p: p.polls)
            style = "--" if family.startswith("best") else "-"
            values = [getattr(p, name) for p in mine]
            panel.plot([p.polls for p in mine], values, style, marker="o", label=family)
            aside = (-12, -14) if family.startswith("best") else (4, 4)
            for point, value in zip(mine, values, strict=True):
                place = (point.polls, value)
                panel.annotate(point.label, place, xytext=aside, textcoords="offset points")
        panel.set(xlabel="status calls per file", ylabel=f"{name} lag, s", ylim=(0, None))
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    figure.suptitle(f"Time to ready: lognormal, median {MEDIAN:g} s, 95 % within {P95:g} s")
    figure.tight_layout()
    figure.savefig(OUTPUT, dpi=110)


def main() -> int:
    found = points()
    print("| schedule | calls per file | mean lag | median lag | p95 lag |")
    print("| --- | --- | --- | --- | --- |")
    for p in found:
        name = f"{p.family} {p.label}".strip()
        print(f"| {name} | {p.polls:.2f} | {p.mean:.2f} | {p.median:.2f} | {p.p95:.2f} |")
    draw(found)
    print(f"drawn in {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
