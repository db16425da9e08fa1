"""What the log holds: one form, each thing once, Celery's chatter only when it is wanted."""

import json
import logging
import warnings

import pytest

from worker.telemetry import LogTelemetry, configure_logging

CHATTER = (
    ("celery.worker.strategy", "Task %(name)s[%(id)s] received", ({"name": "a", "id": "b"},)),
    ("celery.beat", "Scheduler: Sending due task %s (%s)", ("tick", "worker.tick")),
)


@pytest.fixture
def said(capsys):
    """What the log says, a line each; the logging of the test run is put back afterwards."""
    root, chatty = logging.getLogger(), [logging.getLogger(name) for name, _, _ in CHATTER]
    handlers, level, filters = root.handlers[:], root.level, [one.filters[:] for one in chatty]

    def lines():
        return capsys.readouterr().err.splitlines()

    yield lines
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger, former in zip(chatty, filters, strict=True):
        logger.filters[:] = former


def chatter():
    """What a worker and a Beat say all the time."""
    for name, message, arguments in CHATTER:
        logging.getLogger(name).info(message, *arguments)


def test_celerys_chatter_is_a_detail(said):
    configure_logging("INFO", "json")
    chatter()
    logging.getLogger("celery.beat").info("beat: Starting...")
    (line,) = said()
    assert json.loads(line)["event"] == "beat: Starting..."

    configure_logging("DEBUG", "json")
    chatter()
    lines = [json.loads(line) for line in said()]
    assert [line["level"] for line in lines] == ["debug", "debug"]
    assert lines[0]["event"] == "Task a[b] received"


def test_a_warning_of_a_library_is_a_line_of_the_log(said):
    configure_logging("INFO", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("two\nlines", UserWarning, "somewhere.py", 1)
    (line,) = said()
    assert "two\nlines" in json.loads(line)["event"]


def test_what_is_not_wanted_is_not_even_written(said):
    configure_logging("WARNING", "json")
    told = LogTelemetry()
    told.event("file_ended", file="x")
    told.event("freeze_extended", profile="x")
    told.event("profile_frozen", profile="x")
    (line,) = said()
    assert json.loads(line)["event"] == "profile_frozen"
