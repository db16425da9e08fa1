"""What was extracted is read by speaker and by page."""

import pytest

from worker.core.transcript import Turn, turns


@pytest.mark.parametrize(
    ("content", "segments", "told"),
    [
        (None, None, []),
        ("plain", None, [Turn(None, None, "plain")]),
        ("[]", [], []),
        (
            "…",
            [
                {"text": "a", "speaker_id": 0},
                {"text": "b", "speaker_id": 1},
                {"text": "c", "speaker_id": 1},
            ],
            [Turn("Speaker 0", None, "a"), Turn("Speaker 1", None, "b\nc")],
        ),
        (
            "…",
            [{"text": "a", "page": 1}, {"text": "b", "page": 1}, {"text": "c", "page": 2}],
            [Turn(None, "page 1", "a\nb"), Turn(None, "page 2", "c")],
        ),
        ("…", ["a", None, "", {"page": 1}, 7], [Turn(None, None, "a\n7")]),
        ("…", [{"content": "x", "speaker": "Ann"}], [Turn("Ann", None, "x")]),
        ("…", {"text": "an object"}, [Turn(None, None, "…")]),
    ],
)
def test_segments_become_turns(content, segments, told):
    assert list(turns(content, segments)) == told
