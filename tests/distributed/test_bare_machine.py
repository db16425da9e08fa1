"""A fleet where no server is installed: SQLite, and fakeredis for a broker."""

from datetime import UTC, datetime, timedelta

from tests.distributed.fleet import wait_for


def test_beat_has_a_worker_ingest_what_a_schedule_names(bare_fleet):
    fleet = bare_fleet
    fleet.put("call-{}.wav", 3)
    schedules = fleet.folder / "schedules.toml"
    schedules.write_text(f"""
        [[schedule]]
        name = "calls"
        cron = "0 0 1 1 *"
        paths = ["{fleet.inbox}"]
        stable_for = 0
    """)
    long_ago = datetime.now(UTC) - timedelta(days=800)
    assert fleet.store.fire("calls", long_ago.timestamp())
    beat = fleet.celery("beat", "beat", INGEST_SCHEDULES=str(schedules))
    worker = fleet.worker()
    worker.await_word('"schedule_fired"')
    assert beat.alive
    wait_for(lambda: fleet.simulator.summary()["uploads_taken"] == 3, "the schedule's files")
