"""Runs whose dialogs meet the matrix's faults, and what came of them."""

from collections import Counter, deque
from collections.abc import Callable
from threading import Lock

from tests.e2e.shells import Outcome, Shell
from tests.matrix.faults import NODE, End, Fault, talk
from tests.matrix.standin import StandIn, serving
from tests.matrix.table import Cell, Group

PATIENCE = "70"
GOOD = talk(NODE, End("fin"))
"""A dialog with one place whose connection serves no second one."""


def alternating(cells: tuple[Cell, ...]) -> Callable[[int], tuple[str, Fault] | None]:
    """A good dialog between any two that meet a fault: no file meets many of them in a row."""
    waiting, lock = deque(cells), Lock()

    def next_one(number: int) -> tuple[str, Fault] | None:
        with lock:
            if number % 2 or not waiting:
                return "good", GOOD
            cell = waiting.popleft()
        assert not isinstance(cell.fault, tuple)
        return cell.does, cell.fault

    return next_one


def one_run(shell: Shell, group: Group) -> list[str]:
    """Run the group's cells side by side; returns where one ended otherwise than the table says."""
    dialogs = alternating(group.cells)
    met: list[str] = []

    def dialog(number: int) -> tuple[str, Fault] | None:
        found = dialogs(number)
        met.append(found[0] if found else "good")
        return found

    names = [shell.put(f"{number}.txt") for number in range(2 * len(group.cells) + 2)]
    ran, stand_in = _ran(shell, group, StandIn(dialog=dialog), names)
    lines = list(shell.results(ran.batch).values())
    wrong = [f"{cell.does}: never met" for cell in group.cells if cell.does not in met]
    expected = Counter((cell.state, cell.code) for cell in group.cells)
    expected["succeeded", None] += len(names) - len(group.cells)
    ends = Counter((line["state"], line["error_code"]) for line in lines)
    if ends != expected:
        told = sorted({str(line["error_message"]) for line in lines if line["error_code"]})
        wrong.append(f"{group.title}: {ends}, not {expected}: {told}")
    return wrong + _told(group, lines) + _served(group, stand_in)


def _told(group: Group, lines: list[dict[str, str]]) -> list[str]:
    """The cells whose words stand in no file's error."""
    words = [line["error_message"] or "" for line in lines]
    return [
        f"{cell.does}: nobody was told {cell.says!r}"
        for cell in group.cells
        if cell.says and not any(cell.says in told for told in words)
    ]


def _served(group: Group, stand_in: StandIn) -> list[str]:
    """The dialogs that brought an upload, or none, against the table's word."""
    used = set(stand_in.flows.values())
    wanted = {cell.does for cell in group.cells if cell.uploads and not cell.again}
    wrong = [f"{does}: brought no upload" for does in sorted(wanted - used)]
    return wrong + [f"{does}: brought an upload" for does in sorted(used - wanted - {"good"})]


def run_alone(shell: Shell, group: Group, cell: Cell) -> list[str]:
    """Run one file whose every call meets the cell's fault."""
    assert not isinstance(cell.fault, tuple)
    every, faulty = cell.fault, StandIn()
    if group.endpoint == "dialog":
        faulty.dialog = lambda _: (cell.does, every)
    else:
        setattr(faulty, group.endpoint, lambda *_: every)
    ran, stand_in = _ran(shell, group, faulty, [shell.put("a.txt")])
    (line,) = shell.results(ran.batch).values()
    end = (line["state"], line["error_code"], sum(stand_in.uploads.values()), ran.code)
    expected = (cell.state, cell.code, cell.uploads, cell.exit)
    told = line["error_message"]
    return [] if end == expected else [f"{cell.does}: {end}, not {expected}; {told}"]


def _ran(
    shell: Shell, group: Group, stand_in: StandIn, names: list[str]
) -> tuple[Outcome, StandIn]:
    with serving(stand_in) as url:
        settings = group.settings | {"CHATFLOW_BASE_URL": url}
        ran = shell.type("run", *names, "--json", "--timeout", PATIENCE, **settings)
    return ran, stand_in
