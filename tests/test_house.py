"""The files around the code: locks, Makefile, CI script, changelog, and what may stand where."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from statistics import median

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOP_LEVEL = {
    "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "alembic.ini", "deploy",
    "migrations", "pyproject.toml", "requirements-dev.txt", "requirements-servers.txt",
    "requirements.txt", "tests", "worker",
}  # fmt: skip


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listing.stdout.split("\0") if name and (ROOT / name).exists()]


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", read(lock), re.MULTILINE))


def test_the_top_level_holds_what_was_agreed_and_dot_files():
    entries = {name.split("/")[0] for name in tracked()}

    assert {entry for entry in entries if not entry.startswith(".")} <= TOP_LEVEL


def test_nothing_tracked_names_a_package_registry():
    pattern = re.compile(
        r"(--|_)(extra-)?index[-_]url|https?://[^\s\"')]*/simple\b|pypi\.org/(simple|pypi)|files\.pythonhosted"
    )
    texts = {name: (ROOT / name).read_bytes().decode("utf-8", "ignore") for name in tracked()}
    # The option that keeps the address out of the locks, and this test, may say the word.
    texts = {name: text.replace("--no-emit-index-url", "") for name, text in texts.items()}

    assert [
        name
        for name, text in texts.items()
        if name != "tests/test_house.py" and pattern.search(text)
    ] == []


def test_the_development_lock_holds_every_pin_of_the_other():
    run, dev = pins("requirements.txt"), pins("requirements-dev.txt")

    assert run
    assert run.items() <= dev.items()


@pytest.mark.parametrize(
    "lock", ["requirements.txt", "requirements-dev.txt", "requirements-servers.txt"]
)
def test_every_locked_package_has_hashes(lock):
    blocks = re.split(r"^(?=[a-z0-9])", read(lock), flags=re.MULTILINE)

    assert [
        block.split()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block
    ] == []


@pytest.mark.parametrize(
    ("lock", "asked"),
    [
        (
            "requirements.txt",
            PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["build"],
        ),
        ("requirements-dev.txt", PROJECT["dependency-groups"]["dev"]),
        ("requirements-servers.txt", PROJECT["dependency-groups"]["servers"]),
    ],
)
def test_the_locks_answer_what_the_project_asks_for(lock, asked):
    locked = pins(lock)
    requirements = [Requirement(text) for text in asked]

    assert [
        str(r)
        for r in requirements
        if not r.specifier.contains(locked.get(canonicalize_name(r.name), "0"))
    ] == [], "run `make lock`"


def test_every_make_target_has_a_line_of_help():
    makefile = read("Makefile")
    targets = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))
    helped = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))

    assert targets
    assert targets == helped


def test_continuous_integration_runs_targets_that_exist():
    steps = re.findall(r"^step make (\S+)$", read(".ci/run"), re.MULTILINE)

    assert {"demo", "check", "test", "crash"} <= set(steps)
    assert set(steps) <= set(re.findall(r"^\.PHONY: (\S+)$", read("Makefile"), re.MULTILINE))


def test_the_changelog_is_kept_as_it_says():
    text = read("CHANGELOG.md")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))

    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", h) for h in headings[1:])
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_changelog_and_images_follow_the_version():
    version = PROJECT["project"]["version"]
    files = [path for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    texts = [path.read_bytes().decode("utf-8", "ignore") for path in files]
    tag = re.compile(r"(?:chatflow-ingest:|newTag: )(\d[\w.]*)")

    assert re.findall(r"^## \[(\d.*?)\]", read("CHANGELOG.md"), re.MULTILINE)[0] == version
    assert {found for text in texts for found in tag.findall(text)} == {version}


def test_the_pythons_of_the_classifiers_are_those_that_the_readme_calls_tested():
    told = re.search(r"\(tested: ([^)]*)\)", read("README.md"))
    classified = re.findall(
        r":: Python :: (3\.\d+)$", "\n".join(PROJECT["project"]["classifiers"]), re.MULTILINE
    )

    assert told
    assert re.findall(r"3\.\d+", told[1]) == classified


def test_every_package_that_the_code_imports_is_asked_for():
    ours = {"worker", "migrations"}
    files = [*(ROOT / "worker").rglob("*.py"), *(ROOT / "migrations").rglob("*.py")]
    imported = {name for file in files for name in imports(file)} - ours - sys.stdlib_module_names
    distributions = metadata.packages_distributions()
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(text for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra),
    ]
    asked = {canonicalize_name(Requirement(text).name) for text in wanted}

    assert {
        n for n in imported if asked.isdisjoint(canonicalize_name(d) for d in distributions[n])
    } == set()


def imports(file: Path) -> set[str]:
    """The first words of the absolute imports of a module."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def classes() -> list[tuple[str, ast.ClassDef]]:
    """The classes of the package's modules, each with the module's path."""
    return [
        (str(file.relative_to(ROOT)), node)
        for file in (ROOT / "worker").rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]


def test_a_class_name_stands_for_one_thing():
    places: dict[str, list[str]] = {}
    for place, node in classes():
        places.setdefault(node.name, []).append(place)

    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_what_the_steps_need_of_the_world_stands_among_the_ports():
    assert [
        f"{place}: {node.name}"
        for place, node in classes()
        if place.startswith("worker/steps/") and "Protocol" in map(ast.unparse, node.bases)
    ] == []


def test_modules_and_functions_stay_short():
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for file in (ROOT / "worker").rglob("*.py")
    }
    functions = {
        f"{name}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name in lengths
        for node in ast.walk(ast.parse(read(name)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
    assert median(lengths.values()) <= 150
    assert {name: lines for name, lines in functions.items() if lines > 40} == {}


def test_the_map_of_the_package_names_every_room():
    rooms = {file.stem for file in (ROOT / "worker").glob("*.py") if file.stem != "__init__"}
    rooms |= {folder.parent.name for folder in (ROOT / "worker").glob("*/__init__.py")}
    named = re.findall(r"^``(\w+)``(?:, ``(\w+)``)?  ", read("worker/__init__.py"), re.MULTILINE)

    assert {name for names in named for name in names if name} == rooms


def test_the_guide_sends_nobody_to_a_place_that_is_not_there():
    guide = read("CONTRIBUTING.md").partition("### Where to change what")[2].partition("###")[0]
    places = re.findall(r"`((?:worker|tests|deploy|migrations)/[^`]*)`", guide)

    assert len(places) > 40
    assert [place for place in places if not (ROOT / place).exists()] == []


PLACE = {"lane", "next_at", "lease_token", "lease_until", "finished_at"}
OTHER_TABLES = {  # columns of the same names elsewhere
    "batches.py": {"next_at", "finished_at"},
    "ledger.py": {"lease_token"},
    "outbox.py": {"next_at"},
    "wakes.py": {"lane"},
}


def test_one_module_writes_where_a_file_stands():
    folder = ROOT / "worker" / "adapters" / "database"
    found = {
        file.name: written(file) & PLACE - OTHER_TABLES.get(file.name, set())
        for file in folder.glob("*.py")
        if file.name != "moves.py"
    }

    assert {name: columns for name, columns in found.items() if columns} == {}
    assert {"lane", "next_at", "lease_token", "finished_at"} <= written(folder / "moves.py")


def written(file: Path) -> set[str]:
    """The keys of a module's dictionaries, and the names of what its statements set."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict):
            names |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "values":
            names |= {keyword.arg for keyword in node.keywords}
    return names


def test_every_ignored_rule_has_its_reason_beside_it():
    bare = re.compile(r"# (ruff: )?noqa(: [A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)*)?\s*$|# type: ignore\s*$")

    assert [
        f"{name}:{number}"
        for name in tracked()
        if name.endswith(".py")
        for number, line in enumerate(read(name).splitlines(), 1)
        if bare.search(line)
    ] == []
