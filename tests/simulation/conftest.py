from collections.abc import Iterator

import pytest

from tests.simulation.store import Shelf


@pytest.fixture(scope="session")
def shelf() -> Iterator[Shelf]:
    made = Shelf()
    yield made
    made.close()
