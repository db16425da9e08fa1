"""The files around the code: locks, Makefile, CI script, changelog, and what may stand where."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOP_LEVEL = {
    "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "alembic.ini", "deploy",
    "migrations", "pyproject.toml", "requirements-dev.txt", "requirements.txt", "tests", "worker",
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


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
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


def test_every_package_that_the_code_imports_is_asked_for():
    ours = {"worker", "migrations"}
    files = [*(ROOT / "worker").rglob("*.py"), *(ROOT / "migrations").rglob("*.py")]
    imported = {name for file in files for name in imports(file)} - ours - sys.stdlib_module_names
    distributions = metadata.packages_distributions()
    asked = {
        canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]
    }

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
