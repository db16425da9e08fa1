"""What is called growth, and what is not."""

from dataclasses import replace

from tests.soak.figures import Sample, growths

FLAT = Sample(0.0, 120.0, 40, 9, 12, 0, 30, 0.5, 100)


def test_what_stays_flat_or_shakes_is_no_growth():
    shaking = [replace(FLAT, memory=120.0 + n % 7, handles=40 + n % 5) for n in range(90)]
    assert growths(shaking) == []


def test_a_rush_at_the_beginning_is_no_growth():
    assert growths([replace(FLAT, memory=60.0 + min(n, 30) * 2) for n in range(90)]) == []


def test_what_climbs_is_named():
    climbing = [replace(FLAT, memory=100.0 + n, handles=40 + n) for n in range(90)]
    assert [line.split()[0] for line in growths(climbing)] == ["memory", "handles"]


def test_work_that_is_ever_later_is_named():
    assert growths([replace(FLAT, late=n / 3) for n in range(90)]) == [
        "late grew from 14.8333 to 24.8333"
    ]


def test_too_few_samples_prove_nothing():
    assert growths([FLAT] * 8) != []
