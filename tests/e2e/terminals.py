"""A terminal of a certain width, at which a user types: a pseudo-terminal, and what was drawn."""

import fcntl
import os
import re
import struct
import termios
import threading
from dataclasses import dataclass

import pytest

from tests.e2e.shells import PATIENCE, PROGRAM, Shell
from tests.warm import Warm

STEERED = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|.)")
COLOURED = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


@dataclass(frozen=True)
class Drawn:
    """What a command drew until it ended with this code."""

    code: int
    raw: str

    @property
    def text(self) -> str:
        """What was written, without what steers colours and the cursor."""
        return STEERED.sub("", self.raw).replace("\r\n", "\n").replace("\r", "\n")

    @property
    def lines(self) -> list[str]:
        """Each line that ever stood there."""
        return [line.rstrip() for line in self.text.splitlines()]


def typed(shell: Shell, columns: int, *words: str, **more: str) -> Drawn:
    """Run a command at a terminal of so many columns, to its end."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    surroundings = {n: v for n, v in shell.environment.items() if n not in {"COLUMNS", "NO_COLOR"}}
    process = Warm(
        [*PROGRAM, *words],
        cwd=shell.folder,
        env=surroundings | {"TERM": "xterm-256color"} | more,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    pieces: list[bytes] = []
    reader = threading.Thread(target=_read, args=(ours, pieces))
    reader.start()
    reader.join(PATIENCE)  # its end is that nobody holds the other end any more
    if reader.is_alive():
        process.kill()
        reader.join()
        pytest.fail(f"{words} did not end\n{b''.join(pieces).decode(errors='replace')}")
    code = process.wait(PATIENCE)
    os.close(ours)
    return Drawn(code, b"".join(pieces).decode())


def _read(terminal: int, pieces: list[bytes]) -> None:
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says EIO where the last writer has gone
            return
        if not piece:
            return
        pieces.append(piece)
