from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from celery import Celery

from worker.beat import TICKS, TickScheduler

APP = """
from celery import Celery
from worker.beat import TICKS
app = Celery("ticking", broker="memory://")
app.conf.update(
    beat_schedule={name: entry | {"schedule": 0.05} for name, entry in TICKS.items()},
    beat_scheduler="worker.beat:TickScheduler",
)
"""


def ticking() -> TickScheduler:
    app = Celery("ticking", broker="memory://", set_as_current=False)
    app.conf.update(beat_schedule=TICKS, task_ignore_result=True)
    return TickScheduler(app)


def test_the_entries_are_the_ticks_alone() -> None:
    schedule = ticking().schedule
    assert {entry.task for entry in schedule.values()} == {"worker.tick", "worker.tick_schedules"}
    for entry in schedule.values():
        assert entry.options["expires"] <= entry.schedule.run_every.total_seconds()


def test_beat_runs_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "ticking.py").write_text(APP)
    tmp_path.chmod(0o500)
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(tmp_path)])
    beat = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "ticking", "beat", "--loglevel=INFO"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert beat.stderr is not None
    said: list[str] = []
    for line in beat.stderr:
        said.append(line)
        if sum("Sending due task" in each for each in said) >= 4:
            break
    beat.send_signal(signal.SIGTERM)
    beat.stderr.close()
    beat.wait(timeout=30)
    assert any("worker.tick_schedules" in line for line in said), said
    assert any("(worker.tick)" in line for line in said), said
    assert [file.name for file in tmp_path.iterdir()] == ["ticking.py"]
