"""Every cell of the fault matrix, through the real command line."""

import pytest

from tests.e2e.shells import together
from tests.matrix import dialogs, page
from tests.matrix.cells import CELLS, GROUPS
from tests.matrix.faults import CATEGORY, node, talk
from tests.matrix.standin import StandIn, serving

PLAIN = "plain.txt"
"""A file that meets no fault: one bad file never stops its batch."""
PATIENCE = "70"
"""Seconds after which a `run` stops waiting, so that a file without an end is told by its name."""
ROOMY = talk(node([CATEGORY | {"upload_max_num": 1000}]))


def named(cells):
    return {f"{number}.txt": cell for number, cell in enumerate(cells)}


def met(group, cell, number):
    """The fault that the nth call for a cell's file meets."""
    if cell is None:
        return None
    if isinstance(cell.fault, tuple):
        return cell.fault[number - 1] if number <= len(cell.fault) else None
    return cell.fault if group.often is None or number <= group.often else None


def ended(line):
    return line["state"], line["error_code"]


def files_that_share_a_run(shell, group):
    cells = named(group.cells)
    stand_in = StandIn(dialog=lambda _: ("good", ROOMY))
    setattr(stand_in, group.endpoint, lambda name, number: met(group, cells.get(name), number))
    paths = [shell.put(name) for name in (*cells, PLAIN)]
    with serving(stand_in) as url:
        settings = group.settings | {"CHATFLOW_BASE_URL": url}
        ran = shell.type("run", *paths, "--json", "--timeout", PATIENCE, **settings)
    lines = shell.results(ran.batch)
    calls = stand_in.uploads if group.endpoint == "upload" else stand_in.asked
    ends = {name: (*ended(lines[name]), stand_in.uploads[name], calls[name] > 1) for name in cells}
    assert ended(lines[PLAIN]) == ("succeeded", None)
    return (
        unlike(group, {cell.does: (ends[name], lines[name]) for name, cell in cells.items()})
        + [
            f"{group.title}: exit {ran.code}"
            for expected in [max(cell.exit for cell in group.cells)]
            if ran.code != expected
        ]
        + stand_in.surprises
    )


def unlike(group, seen):
    """Where a cell ended otherwise than the table says."""
    wrong = []
    for cell in group.cells:
        end, line = seen[cell.does]
        expected = (cell.state, cell.code, cell.uploads, cell.again)
        told = line["error_message"] or ""
        if end != expected:
            wrong.append(f"{group.title} / {cell.does}: {end}, not {expected}; {told}")
        elif cell.says not in told or cell.keeps not in (line["parse_content"] or ""):
            wrong.append(f"{group.title} / {cell.does}: {told!r}, {line['parse_content']!r}")
    return wrong


class Shared:
    """A group as a test's case."""

    def __init__(self, group):
        self.group = group

    def __repr__(self):
        return self.group.title


class Alone(Shared):
    """One cell of a group as a test's case."""

    def __init__(self, group, cell):
        super().__init__(group)
        self.cell = cell

    def __repr__(self):
        return self.cell.does


@pytest.mark.parametrize("endpoint", ["upload", "status"])
def test_files_that_meet_a_fault_end_as_the_matrix_says(endpoint, new_shell):
    wrong = []
    groups = [Shared(g) for g in GROUPS if not g.alone and g.endpoint == endpoint]
    together(
        lambda shell, case: wrong.extend(files_that_share_a_run(shell, case.group)),
        groups,
        new_shell,
    )
    assert not wrong, "\n".join(wrong)


def test_dialogs_that_meet_a_fault_end_as_the_matrix_says(new_shell):
    wrong = []
    shared = [Shared(g) for g in GROUPS if not g.alone and g.endpoint == "dialog"]
    together(
        lambda shell, case: wrong.extend(dialogs.one_run(shell, case.group)), shared, new_shell
    )
    assert not wrong, "\n".join(wrong)


def test_what_concerns_all_files_ends_a_run_as_the_matrix_says(new_shell):
    wrong = []
    cases = [Alone(group, cell) for group in GROUPS if group.alone for cell in group.cells]
    together(
        lambda shell, case: wrong.extend(dialogs.run_alone(shell, case.group, case.cell)),
        cases,
        new_shell,
    )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("group", GROUPS, ids=[group.title for group in GROUPS])
def test_no_two_cells_of_a_group_have_one_name(group):
    names = [cell.does for cell in group.cells]
    assert len(names) == len(set(names))


def test_the_matrix_has_more_than_two_hundred_cells():
    assert len(CELLS) > 200


def test_the_page_in_deploy_is_what_the_table_says():
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run `make readme`"
