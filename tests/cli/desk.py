"""A desk for the commands: a database of its own, filled by hand, and a way to type."""

import io
import re
from uuid import UUID, uuid4

from typer.testing import CliRunner

from worker.cli import app
from worker.core.lifecycle import FileState, Lane
from worker.core.model.batches import NewBatch
from worker.core.model.files import ErrorNote
from worker.core.model.ids import BatchId, UploadId, fleet
from worker.core.model.wire import Contents
from worker.core.verdicts import Accepted, Ended, Traits

BATCH = BatchId(UUID("1b58808e-40ab-5634-a31e-4052c7f0abcc"))
UNKNOWN = str(UUID(int=9))
EVIL = "/data/evil\x1b[2J\nname.wav"
SOURCES = ["/data/one.wav", "/data/two.pdf", EVIL, "/data/waiting.txt"]
CREW = fleet("default")


def plain(text):
    """What is read of it at a terminal: without what steers colours and the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


class Terminal(io.StringIO):
    """A stream that somebody reads."""

    def isatty(self):
        return True


def fill(store):
    """A batch with a file succeeded, one failed, one rejected, and one still queued."""
    store.create_batch(NewBatch(BATCH, "default", CREW, external_key="nightly"))
    store.add_files(BATCH, SOURCES[:3])
    by_source = {f.source: f for f in store.claim("default", CREW, Lane.SUBMIT, 10, 60).files}
    store.record(
        [
            Ended(
                by_source[EVIL].id,
                by_source[EVIL].token,
                FileState.REJECTED,
                error=ErrorNote("empty", "the file is empty"),
            ),
            *(polling(by_source[source]) for source in SOURCES[:2]),
        ]
    )
    by_source = {f.source: f for f in store.claim("default", CREW, Lane.POLL, 10, 60).files}
    one, two = (by_source[source] for source in SOURCES[:2])
    parsed = Contents('[{"text": "你好"}]', [{"text": "你好"}], "a summary")
    store.record(
        [
            Ended(one.id, one.token, FileState.SUCCEEDED, status=5, contents=parsed, asked=True),
            Ended(
                two.id,
                two.token,
                FileState.FAILED,
                status=6,
                error=ErrorNote("parse_failed", "no text layer"),
                asked=True,
            ),
        ]
    )
    store.add_files(BATCH, SOURCES[3:])
    store.seal(BATCH)
    return store


def polling(file):
    sent = Traits("Any", 3, "ab" * 32)
    return Accepted(file.id, file.token, UploadId(uuid4()), "7", sent, 0.0, 60.0)


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments))
