import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, pairwise
from random import Random
from statistics import NormalDist, mean
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.model.ids import FileId
from worker.core.pacing import poll_wait
from worker.core.ready_times import (
    ENOUGH,
    MEMORY,
    SCOUT_EVERY,
    PollSchedule,
    Sketch,
    schedule_for,
    scout_share,
    size_class,
)

# --- a service whose times to ready are lognormal: median 2 s, p95 6 s ---------------------------

MU, SIGMA = math.log(2.0), math.log(3.0) / NormalDist().inv_cdf(0.95)
Wait = Callable[[float, int], float]


def times(seed: int, factor: float = 1.0) -> Iterator[float]:
    """Endless times to ready of a service that is `factor` times slower."""
    random = Random(seed)
    while True:
        yield factor * random.lognormvariate(MU, SIGMA)


def take(source: Iterator[float], n: int) -> list[float]:
    return [next(source) for _ in range(n)]


@dataclass(frozen=True)
class Polled:
    """How one file was polled: `since` is the last age at which it was not ready."""

    polls: int
    lag: float
    since: float
    found: float


def follow(wait: Wait, ready: float) -> Polled:
    age = since = 0.0
    for polls in count(1):
        since, age = age, age + wait(age, polls - 1)
        if age >= ready:
            return Polled(polls, age - ready, since, age)
    raise AssertionError


def fallback(age: float, polls: int) -> float:
    return poll_wait(polls, age)


def polls_and_lag(results: list[Polled]) -> tuple[float, float]:
    return mean(one.polls for one in results), mean(one.lag for one in results)


def cost(results: list[Polled], price: float) -> float:
    polls, lag = polls_and_lag(results)
    return price * polls + lag


def trained(n: int = 1000, seed: int = 7) -> Sketch:
    sketch = Sketch()
    for seconds in take(times(seed), n):
        sketch = sketch.add(seconds, since=seconds)
    return sketch


def live(
    sketch: Sketch, source: Iterator[float], files: int, price: float
) -> tuple[list[Polled], Sketch]:
    """Poll files by what is learned while it is learned, a cohort of 25 at a time."""
    results: list[Polled] = []
    for cohort in range(files // 25):
        schedule = PollSchedule(sketch, price)
        for turn in range(cohort * 25, cohort * 25 + 25):
            share = scout_share(FileId(UUID(int=turn)))
            wait: Wait = lambda age, polls, s=schedule, p=share: s.wait(age, polls, p)  # noqa: E731 - bound to this cohort
            results.append(follow(wait, next(source)))
        for one in results[-25:]:
            sketch = sketch.add(one.found, since=one.since)
    return results, sketch


def ideal_costs(price: float) -> tuple[float, float]:
    """Polls and mean lag of the best placement for the known distribution, by brute force."""
    step, oldest = 0.05, 40.0
    ages = [i * step for i in range(int(oldest / step) + 1)]
    ready = [0.0] + [NormalDist(MU, SIGMA).cdf(math.log(age)) for age in ages[1:]]
    area = [0.0]
    for left, right in pairwise(ready):
        area.append(area[-1] + (left + right) / 2 * step)
    best: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0)] * len(ages)
    for i in range(len(ages) - 2, -1, -1):
        best[i] = min(
            (
                price * (1 - ready[i]) + lag + best[j][0],
                1 - ready[i] + best[j][1],
                lag + best[j][2],
            )
            for j in range(i + 1, min(i + 160, len(ages)))
            for lag in [area[j] - area[i] - ready[i] * (ages[j] - ages[i])]
        )
    return best[0][1], best[0][2]


# --- the target -----------------------------------------------------------------------------------


@pytest.mark.parametrize("price", [0.5, 1.0])
def test_learned_placement_is_close_to_the_best_for_the_known_distribution(price: float) -> None:
    files = take(times(1), 20_000)
    schedule = PollSchedule(trained(), price)
    polls, lag = polls_and_lag([follow(schedule.wait, ready) for ready in files])
    best_polls, best_lag = ideal_costs(price)
    assert price * polls + lag <= 1.05 * (price * best_polls + best_lag)
    # In lag at equal polls per file: the difference in polls is turned into lag at its price.
    assert lag + price * (polls - best_polls) <= 1.10 * best_lag


def test_the_yardstick_of_the_design() -> None:
    """1.78 polls per file at a median lag of 0.86 s and 1.57 s for the slowest twentieth."""
    files = take(times(2), 4000)
    polls, median, slowest = [], [], []
    for seed in range(5):
        schedule = PollSchedule(trained(seed=seed), 0.8)
        results = [follow(schedule.wait, ready) for ready in files]
        lags = sorted(one.lag for one in results)
        polls.append(mean(one.polls for one in results))
        median.append(lags[2000])
        slowest.append(lags[3800])
    assert mean(polls) <= 1.78
    assert mean(median) <= 0.86 * 1.10
    assert mean(slowest) <= 1.57 * 1.10


@pytest.mark.parametrize("price", [0.5, 1.0])
def test_it_learns_from_nothing_but_its_own_polls(price: float) -> None:
    results, _ = live(Sketch(), times(3), 5000, price)
    best_polls, best_lag = ideal_costs(price)
    assert cost(results[-3000:], price) <= 1.08 * (price * best_polls + best_lag)


@pytest.mark.parametrize("price", [0.3, 1.0])
@pytest.mark.parametrize("factor", [5.0, 2.0, 0.5, 0.2])
def test_a_service_that_changed_costs_no_more_than_the_fixed_schedule(
    factor: float, price: float
) -> None:
    spent, allowed = 0.0, 0.0
    for seed in range(3):
        _, sketch = live(Sketch(), times(100 + seed), 1500, price)
        results, _ = live(sketch, times(200 + seed, factor), 2000, price)
        fixed = take(times(200 + seed, factor), 2000)
        spent += cost(results, price)
        allowed += cost([follow(fallback, ready) for ready in fixed], price)
    assert spent <= allowed * 1.01  # the first files, before it was noticed, included


@pytest.mark.parametrize("later", [2.0, 50.0])
def test_a_service_of_fixed_pace_that_changed_is_noticed(later: float) -> None:
    random = Random(6)
    steady = (random.uniform(9.9, 10.1) for _ in count())
    _, sketch = live(Sketch(), steady, 1000, 1.0)
    assert PollSchedule(sketch, 1.0).wait(0.0, 0) == pytest.approx(10.5, abs=1.0)
    changed = (later * random.uniform(0.99, 1.01) for _ in count())
    results, _ = live(sketch, changed, 1500, 1.0)
    fixed = [follow(fallback, later) for _ in range(1500)]
    assert cost(results[-500:], 1.0) < cost(fixed, 1.0)


# --- when there is nothing to go by ---------------------------------------------------------------


@given(st.floats(0, 1e5), st.integers(0, 1000))
def test_without_history_the_fixed_schedule_holds(age: float, polls: int) -> None:
    assert schedule_for(None).wait(age, polls) == poll_wait(polls, age)
    assert schedule_for(trained(int(ENOUGH) - 1)).wait(age, polls) == poll_wait(polls, age)


def test_beyond_what_history_explains_the_fixed_schedule_holds() -> None:
    schedule = PollSchedule(trained(), 1.0)
    assert schedule.wait(0.0, 0) != poll_wait(0, 0.0)
    assert schedule.wait(60.0, 5) == poll_wait(5, 60.0)


def test_one_straggler_makes_nobody_wait_for_long() -> None:
    sketch = trained(300).add(900.0, since=890.0)
    schedule = PollSchedule(sketch, 1.0)
    assert all(schedule.wait(age / 10, 3) < 15 for age in range(400))


@given(st.lists(st.floats(0.01, 5000), min_size=30, max_size=60), st.floats(0.05, 20))
def test_every_wait_moves_on_and_is_finite(seen: list[float], price: float) -> None:
    sketch = Sketch()
    for seconds in seen:
        sketch = sketch.add(seconds, since=seconds / 2)
    schedule = PollSchedule(sketch, price)
    for age in (0.0, 0.049, 0.5, *seen, 1e5):
        assert 0.05 <= schedule.wait(age, 2) < 7000


def test_dearer_calls_are_made_more_rarely() -> None:
    files = take(times(8), 2000)
    schedules = [PollSchedule(trained(), price) for price in (0.1, 0.5, 2.0, 10.0)]
    polls = [mean(follow(one.wait, ready).polls for ready in files) for one in schedules]
    assert polls == sorted(polls, reverse=True)
    assert polls[0] > 2 * polls[-1]


def test_scouts_are_few_and_ask_once_before_their_time() -> None:
    shares = [scout_share(FileId(UUID(int=n))) for n in range(SCOUT_EVERY * 80)]
    early = [share for share in shares if share < 1]
    assert len(early) == 80
    assert all(0 < share < 1 for share in early)
    assert len(set(early)) == 8
    sketch = trained()
    assert schedule_for(sketch).wait(0.0, 0, share=0.5) == schedule_for(sketch).wait(0.0, 0) / 2
    assert schedule_for(sketch).wait(1.0, 1, share=0.5) == schedule_for(sketch).wait(1.0, 1)


# --- the sketch -----------------------------------------------------------------------------------

MOMENTS = st.floats(0, 1e5)
INTERVALS = st.lists(st.tuples(MOMENTS, MOMENTS), max_size=80)


def learned(intervals: list[tuple[float, float]]) -> Sketch:
    sketch = Sketch()
    for one, other in intervals:
        sketch = sketch.add(max(one, other), since=min(one, other))
    return sketch


@given(INTERVALS)
def test_a_sketch_survives_being_written_and_is_small(intervals: list[tuple[float, float]]) -> None:
    sketch = learned(intervals)
    text = sketch.to_json()
    assert len(text.encode()) < 1024
    again = Sketch.from_json(text)
    assert again.to_json() == text
    assert again.weights == pytest.approx(sketch.weights, abs=0.006)


@given(st.lists(st.tuples(MOMENTS, MOMENTS), max_size=25))
def test_every_file_weighs_one(intervals: list[tuple[float, float]]) -> None:
    assert learned(intervals).total == pytest.approx(len(intervals))


@given(INTERVALS, INTERVALS)
def test_merging_is_symmetric_and_keeps_the_weight(
    one: list[tuple[float, float]], other: list[tuple[float, float]]
) -> None:
    left, right = learned(one), learned(other)
    merged = left.merge(right)
    assert merged.total == pytest.approx(min(MEMORY, left.total + right.total))
    assert merged.weights == pytest.approx(right.merge(left).weights)


def test_memory_is_bounded_and_the_past_fades() -> None:
    sketch = trained(3000)
    assert sketch.total == pytest.approx(MEMORY)
    for _ in range(5):
        sketch = sketch.merge(learned([(50.0, 50.0)] * 29))
    assert sketch.total == pytest.approx(MEMORY)
    assert len(trained(5000).to_json()) < 1024


def test_a_sketch_that_was_wrong_forgets() -> None:
    sketch = trained()
    for _ in range(25):
        sketch = sketch.add(100.0, since=90.0)
    assert sketch.total < ENOUGH
    for _ in range(40):
        sketch = sketch.add(100.0, since=90.0)
    assert 80.0 < schedule_for(sketch).wait(0.0, 0) < 120.0


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "rubbish",
        "[]",
        "{}",
        '{"v":2,"first":0,"weights":[],"doubt":[0,0]}',
        '{"v":1,"first":-1,"weights":[1],"doubt":[0,0]}',
        '{"v":1,"first":120,"weights":[1,1,1,1,1,1],"doubt":[0,0]}',
        '{"v":1,"first":0,"weights":[-1],"doubt":[0,0]}',
        '{"v":1,"first":0,"weights":[NaN],"doubt":[0,0]}',
        '{"v":1,"first":0,"weights":[1],"doubt":[0]}',
        json.dumps({"v": 1, "first": 0, "weights": [1.0] * 500, "doubt": [0, 0]}),
    ],
)
def test_what_is_no_sketch_is_an_empty_one(text: str | None) -> None:
    assert Sketch.from_json(text) == Sketch()


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_a_time_that_makes_no_sense_teaches_nothing(seconds: float) -> None:
    assert Sketch().add(seconds) == Sketch()


def test_size_classes_are_coarse() -> None:
    assert size_class(None) == size_class(0) == 0
    assert size_class(20_000) == size_class(30_000) == 5
    sizes = [10**power for power in range(12)]
    assert [size_class(size) for size in sizes] == sorted(size_class(size) for size in sizes)
    assert len({size_class(size) for size in sizes}) > 8
