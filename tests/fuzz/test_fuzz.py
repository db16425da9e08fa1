import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.targets import TARGETS, examples


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_returns_or_raises_what_it_says(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=200, suppress_health_check=list(HealthCheck))
    @given(examples(target))
    def short_run(text: str) -> None:
        target.try_(text)

    short_run()


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_holds_what_a_parser_takes(name: str) -> None:
    target = TARGETS[name]

    target.parse(target.corpus[0])
