"""One trace a file, from one process to another, beside the trace of whoever handed it in."""

import json
from collections import defaultdict
from uuid import UUID

from tests.distributed.fleet import Process
from worker.client import batch_id_for

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
BEGINNING = '{\n    "name":'


def given_out(*processes: Process):
    """The spans on the processes' stdout, between other words."""
    decoder = json.JSONDecoder()
    for process in processes:
        said = process.said
        place = said.find(BEGINNING)
        while place >= 0:
            span, place = decoder.raw_decode(said, place)
            yield process.name, span
            place = said.find(BEGINNING, place)


def test_two_workers_and_an_upstream_job_tell_one_story(one_fleet):
    fleet = one_fleet
    traced = {"OTEL_TRACES_EXPORTER": "console"}
    uploader = fleet.worker("-Q", "celery,ingest.submit", **traced)
    asker = fleet.worker("-Q", "ingest.poll,ingest.notify", **traced)
    fleet.client().send_task(
        "worker.ingest_batch",
        kwargs={"files": fleet.put("file-{}.wav", 3), "external_key": "traced"},
        headers={"traceparent": f"00-{TRACE}-{SPAN}-01"},
    )
    batch: UUID = batch_id_for("default", "traced")
    fleet.await_finish(batch)
    assert [uploader.end(), asker.end()] == [0, 0]
    told = defaultdict(set)
    for name, span in given_out(uploader, asker):
        told[span["context"]["trace_id"]].add((name, span["name"]))
    files = [spans for spans in told.values() if ("w1", "upload") in spans]

    assert told[f"0x{TRACE}"] == {("w1", "hand in")}
    assert len(files) == 3
    for spans in files:
        assert spans == {
            ("w1", "dialog"), ("w1", "upload"), ("w1", "record"),
            ("w2", "status"), ("w2", "record"), ("w2", "file"),
        }  # fmt: skip
