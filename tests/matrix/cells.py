"""The fault matrix: what the service may do wrong, and how a file that meets it ends.

The tests run every cell, and `tests.matrix.page` draws the page in `deploy` from the same table.
"""

from tests.matrix import dialog_cells, status_cells, turned_away_cells, upload_cells
from tests.matrix.table import Cell, Group

GROUPS: tuple[Group, ...] = (
    *dialog_cells.GROUPS,
    *upload_cells.GROUPS,
    *status_cells.GROUPS,
    *turned_away_cells.GROUPS,
)

CELLS: tuple[Cell, ...] = tuple(cell for group in GROUPS for cell in group.cells)
