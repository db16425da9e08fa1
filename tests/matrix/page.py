"""The matrix as a page of the documentation: drawn from the table, compared by a test.

`python -m tests.matrix.page --write`, or `make readme`, writes it again.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.matrix.cells import CELLS, GROUPS
from tests.matrix.table import Cell, Group

PAGE = Path(__file__).parents[2] / "deploy" / "FAULTS.md"

HEAD = """# What the service may do wrong, and what becomes of the file

{count} faults, each tried by the test suite with the real command line: what the service does, how a file that meets it
ends, its error code, how many uploads of it the service saw, and whether the call was made again. `run` exits with 0 when
every file succeeded, else with 1. Files of the same batch that met no fault succeeded. What an error code
means stands in the [operations page](OPERATIONS.md#error-codes).

Written by `make readme` from `tests/matrix/cells.py`; not to be edited by hand."""

COLUMNS = "| the service | the file ends | error code | uploads | again |\n| --- | --- | --- | --- | --- |"


def page() -> str:
    return (
        "\n\n".join([HEAD.format(count=len(CELLS)), *map("\n".join, map(_section, GROUPS))]) + "\n"
    )


def _section(group: Group) -> Iterator[str]:
    yield f"## {group.title}"
    yield ""
    if group.settings:
        shown = ", ".join(f"`{name}={value}`" for name, value in group.settings.items())
        yield f"With {shown}."
        yield ""
    yield COLUMNS
    yield from map(_row, group.cells)


def _row(cell: Cell) -> str:
    code = f"`{_short(cell.code)}`" if cell.code else ""
    again = "yes" if cell.again else "no"
    return f"| {cell.does} | `{cell.state}` | {code} | {cell.uploads} | {again} |"


def _short(code: str) -> str:
    return code if len(code) <= 20 else f"{code[:16]}…"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE.name}: run `make readme`")
