"""Flower is never started open by accident."""

from __future__ import annotations

import pytest

from worker.flower.password import guard_flower

START = ["celery", "-A", "worker", "flower"]


def test_flower_gets_a_password_when_nobody_chose_one():
    environment = {}
    password = guard_flower(START, environment)
    assert password
    assert environment == {"FLOWER_BASIC_AUTH": f"flower:{password}"}


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["celery", "-A", "worker", "worker"], {}),
        ([*START, "--basic-auth=a:b"], {}),
        ([*START, "--conf=flower.py"], {}),
        (START, {"FLOWER_BASIC_AUTH": "a:b"}),
        (START, {"FLOWER_UNAUTHENTICATED_API": "true"}),
    ],
)
def test_a_choice_is_left_alone(arguments, environment):
    before = dict(environment)
    assert guard_flower(arguments, environment) is None
    assert environment == before


@pytest.mark.parametrize("no", ["false", "0", "no", "off", "", "perhaps"])
def test_an_open_api_that_is_not_asked_for_is_no_choice(no):
    environment = {"FLOWER_UNAUTHENTICATED_API": no}
    assert guard_flower(START, environment)
    assert environment["FLOWER_BASIC_AUTH"]
