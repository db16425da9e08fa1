"""What the documentation shows to be typed: the lines of its shell blocks, and commands within its sentences."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
OPERATIONS = ROOT / "deploy" / "OPERATIONS.md"
REFERENCE = ROOT / "deploy" / "REFERENCE.md"

_BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`((?:chatflow-ingest|celery) [^`]+)`")


class Line(NamedTuple):
    """A line of a shell block."""

    page: str
    section: str
    text: str

    @property
    def words(self) -> list[str]:
        """As a shell would take it apart, without the comment."""
        return shlex.split(self.text, comments=True)


def lines(page: Path) -> Iterator[Line]:
    """The command lines of a page's shell blocks, with the heading that they stand under."""
    text = page.read_text(encoding="utf-8")
    for block in _BLOCK.finditer(text):
        headings = re.findall(r"^##+ (.*)$", text[: block.start()], re.MULTILINE)
        for line in block[2].splitlines():
            if line.strip() and not line.strip().startswith("#"):
                yield Line(page.name, headings[-1] if headings else "", line.strip())


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links to them."""
    words = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", word.lower()).replace(" ", "-") for word in words}


def mentioned(page: Path) -> Iterator[str]:
    """The commands that stand within sentences."""
    yield from _INLINE.findall(page.read_text(encoding="utf-8"))
