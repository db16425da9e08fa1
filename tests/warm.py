"""Processes of ours that start warm: forked from one that has imported everything already.

Most of what a command costs is Python reading modules. What is forked here is a process like any
other: a child of the test's own, with its environment, folder, pipes and signals, and it dies of
SIGKILL. Only its imports are done. What a test wants to know of starting up, it starts cold.
"""

import atexit
import inspect
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from ctypes import CDLL
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PR_SET_CHILD_SUBREAPER = 36

_one_at_a_time = Lock()


class Warm(subprocess.Popen[Any]):
    """`subprocess.Popen` of `python [-W filter] -m MODULE ...`; anything else starts as ever."""

    def _execute_child(self, *given: Any) -> None:  # type: ignore[override]
        bound = inspect.signature(super()._execute_child).bind(*given).arguments
        args, env = [os.fsdecode(each) for each in bound["args"]], bound["env"]
        if not _is_module(args):
            super()._execute_child(*given)  # type: ignore[misc]
            return
        ends = [bound["p2cread"], bound["c2pwrite"], bound["errwrite"]]
        standard = [own if end == -1 else end for own, end in enumerate(ends)]
        order = {"args": args[1:], "cwd": str(bound["cwd"] or Path.cwd()), "env": env or {}}
        self.pid = _fork(order, standard)
        self._child_created = True
        self._close_pipe_fds(  # type: ignore[attr-defined]
            *(
                bound[end]
                for end in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
            )
        )


def run(command: Sequence[str], **how: Any) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run(..., capture_output=True)`, warm."""
    patience = how.pop("timeout", None)
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with Warm(command, **pipes, **how) as process:
        try:
            out, err = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _is_module(args: Sequence[str]) -> bool:
    return args[0] == sys.executable and "-m" in (args[1], args[3] if len(args) > 3 else "")


def _fork(order: dict[str, Any], standard: Sequence[int]) -> int:
    """Have a process forked, and return its id; it is a child of this one."""
    text = json.dumps(order).encode()
    with _one_at_a_time:
        nursery = _the_nursery()
        nursery.sendall(b"%16d" % len(text))
        socket.send_fds(nursery, [b"."], standard)
        nursery.sendall(text)
        answer = nursery.recv(16)
    assert answer, "the process that forks is gone"
    return int(answer)


@cache
def _the_nursery() -> socket.socket:
    # What the nursery's own children leave behind becomes a child of this process.
    assert CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm_nursery", str(theirs.fileno())],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    atexit.register(_close, process, ours)
    return ours


def _close(process: subprocess.Popen[Any], ours: socket.socket) -> None:
    ours.close()
    process.wait(10)
