from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from celery import Celery

from worker.app import COMMON, beat_schedule
from worker.beat import TickScheduler
from worker.settings import Settings

APP = """
from celery import Celery
app = Celery("ticking", broker="memory://")
app.conf.update(
    beat_schedule={"tick": {"task": "worker.tick", "schedule": 0.05}},
    beat_scheduler="worker.beat:TickScheduler",
)
"""


def test_the_entries_are_ticks_that_do_not_pile_up(tmp_path: Path) -> None:
    file = tmp_path / "schedules.toml"
    file.write_text("")
    settings = Settings.load(INGEST_SCHEDULES=str(file))
    app = Celery("ticking", broker="memory://", set_as_current=False)
    app.conf.update(COMMON | {"beat_schedule": beat_schedule(settings)})
    entries: dict[str, Any] = TickScheduler(app).schedule
    sent = {entry.task for entry in entries.values()}
    assert sent == {"worker.tick", "worker.tick_schedules"}
    for entry in entries.values():
        assert entry.options["expires"] <= 2 * entry.schedule.run_every.total_seconds()


def test_beat_writes_no_file(tmp_path: Path) -> None:
    (tmp_path / "ticking.py").write_text(APP)
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(tmp_path)])
    beat = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "ticking", "beat", "--loglevel=INFO"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert beat.stdout is not None
    said: list[str] = []
    for line in beat.stdout:
        said.append(line)
        if sum("Sending due task" in each for each in said) >= 3:
            break
    beat.send_signal(signal.SIGTERM)
    beat.stdout.close()
    beat.wait(timeout=30)
    assert sum("(worker.tick)" in line for line in said) == 3, said
    assert [file.name for file in tmp_path.iterdir()] == ["ticking.py"]
