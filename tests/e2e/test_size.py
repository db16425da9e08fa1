"""Size: what a run needs of memory, and that it keeps up.

The counts are small here so that the suite stays quick; `CHATFLOW_E2E_FILES=2000` and
`CHATFLOW_E2E_MEGABYTES=300` measure what is promised. `pytest -s` shows the numbers.
"""

import os
import subprocess
import sys
import threading
import time
import urllib.request

import psutil
import pytest

from tests.e2e.shells import ANYTHING, PROGRAM

FILES = int(os.environ.get("CHATFLOW_E2E_FILES", "60"))
MEGABYTES = int(os.environ.get("CHATFLOW_E2E_MEGABYTES", "60"))


class Watch(threading.Thread):
    """The highest memory, and the CPU time, of a process with its children."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self._process = psutil.Process(process.pid)
        self.peak = 0
        self.cpu = 0.0

    def run(self):
        try:
            while self._process.is_running():
                family = [self._process, *self._process.children(recursive=True)]
                self.peak = max(self.peak, sum(each.memory_info().rss for each in family))
                times = [each.cpu_times() for each in family]
                self.cpu = max(self.cpu, sum(each.user + each.system for each in times))
                time.sleep(0.05)
        except psutil.Error:
            pass


def attend(shell, *arguments):
    began = time.monotonic()
    process = shell.start("run", *arguments, "--json")
    watch = Watch(process)
    watch.start()
    out, err = process.communicate(timeout=170)
    return process.returncode, out.decode(), err.decode(), time.monotonic() - began, watch


def test_many_files(shell, service):
    simulator = service(
        categories=[ANYTHING[0] | {"upload_max_num": 20}],
        time_to_ready={"kind": "lognormal", "median": 2, "p95": 6},
        seed=1,
    )
    for number in range(FILES):
        shell.put(f"{number}.wav", os.urandom(64) * 320)
    code, out, err, seconds, watch = attend(shell, str(shell.inbox))
    assert code == 0, err
    assert f'"succeeded":{FILES}' in out
    summary = simulator.summary()
    assert summary["doubles"] == 0
    megabytes = watch.peak / 2**20
    print(
        f"\n{FILES} files: {seconds:.1f} s, {FILES / seconds:.0f} files/s,"
        f" {1000 * watch.cpu / FILES:.2f} CPU s per 1,000, {summary['polls_per_file']:.2f} polls"
        f" per file, lag p50 {summary['lag']['p50']:.2f} p95 {summary['lag']['p95']:.2f} s,"
        f" peak {megabytes:.0f} MiB"
    )
    assert megabytes < 400


@pytest.fixture
def service_elsewhere(shell):
    """A simulator in a process of its own, so that its memory is not ours."""
    process = subprocess.Popen(
        [*PROGRAM, "simulator", "--port", "0"],
        stdout=subprocess.PIPE,
        env=shell.environment,
        cwd=shell.folder,
    )
    try:
        url = process.stdout.readline().decode().strip()
        shell.environment["CHATFLOW_BASE_URL"] = url
        yield url
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_one_large_file(shell, service_elsewhere):
    path = shell.inbox / "large.wav"
    with path.open("wb") as file:
        file.truncate(MEGABYTES * 2**20)
    code, _, err, seconds, watch = attend(shell, str(path))
    assert code == 0, err
    megabytes = watch.peak / 2**20
    print(f"\n{MEGABYTES} MiB: {seconds:.1f} s, peak {megabytes:.0f} MiB", file=sys.stderr)
    assert megabytes < 250
    with urllib.request.urlopen(f"{service_elsewhere}/_simulator/summary") as answer:
        assert b'"uploads_taken": 1' in answer.read()
