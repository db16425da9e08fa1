"""A file is slow beside its own kind, and only where that kind is known."""

from uuid import UUID

from worker.core.model.fleet import FileKind
from worker.core.model.ids import FileId
from worker.core.ready_times import Sketch, size_class
from worker.core.seen import Flying
from worker.core.slowness import slow_files


def known(seconds, name="wav", size=100, count=100):
    sketch = Sketch()
    for _ in range(count):
        sketch = sketch.add(seconds, seconds)
    return {FileKind("Audio", name, size_class(size)): sketch}


def flying(seconds, name="call.wav", size=100):
    return Flying(FileId(UUID(int=1)), name, "Audio", size, seconds)


def test_a_file_far_beyond_the_p95_of_its_kind_is_slow():
    (slow,) = slow_files([flying(840.0)], known(240.0))
    assert (slow.kind, slow.seconds) == ("wav", 840.0)
    assert 200 < slow.usual < 280


def test_a_file_within_its_kinds_time_is_not():
    assert slow_files([flying(250.0)], known(240.0)) == []


def test_what_is_quick_anyway_is_never_slow():
    assert slow_files([flying(4.9)], known(0.1)) == []


def test_without_history_nothing_is_slow():
    assert slow_files([flying(9e9)], {}) == []
    assert slow_files([flying(9e9)], known(1.0, count=10)) == []
    assert slow_files([flying(9e9, name="call.mp3")], known(1.0)) == []


def test_a_size_that_is_not_known_goes_by_its_format():
    assert len(slow_files([flying(100.0, size=10**9)], known(1.0, size=100))) == 1


def test_another_size_of_the_same_format_is_another_kind():
    both = known(1.0, size=100) | known(500.0, size=10**9)
    assert slow_files([flying(400.0, size=10**9)], both) == []
