"""Signals, on real processes."""

import signal
import subprocess
import sys

import pytest

WAITS = """
import os, sys, threading
from worker.cli.interruption import interruptible
with interruptible() as interruption:
    interruption.advice = "go on with: this"
    try:
        print("ready", flush=True)
        threading.Event().wait()
    finally:
        print("stopping", flush=True)
        {on_the_way_out}
"""


def started(on_the_way_out="pass"):
    return subprocess.Popen(
        [sys.executable, "-c", WAITS.format(on_the_way_out=on_the_way_out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_unwinds(number, code):
    with started() as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("stopping\n", "", code)


def test_the_second_signal_ends_at_once_and_says_how_to_go_on():
    with started(on_the_way_out="threading.Event().wait()") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert (err, process.returncode) == ("go on with: this\n", 143)


def test_a_way_out_that_hangs_is_cut_short():
    hang = "import worker.cli.interruption; threading.Event().wait()"
    code = WAITS.format(on_the_way_out=hang).replace(
        "with interruptible",
        "import worker.cli.interruption as i; i.PATIENCE = 0.2\nwith interruptible",
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert (err, process.returncode) == ("go on with: this\n", 143)
