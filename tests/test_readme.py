"""What the README repeats from the code is what the code says."""

import re
from pathlib import Path
from uuid import UUID

import pytest

from tests import readme_blocks

TEXT = readme_blocks.README.read_text(encoding="utf-8")
ROOT = readme_blocks.README.parent


@pytest.mark.parametrize("name", readme_blocks.BLOCKS)
def test_generated_blocks_are_what_make_readme_would_write(name):
    assert readme_blocks.written(TEXT, name) == readme_blocks.BLOCKS[name](), "run `make readme`"


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pages = TEXT + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)(?=`|$|\s+#)", pages, re.MULTILINE))

    assert {"demo", "test"} <= named
    assert named <= set(re.findall(r"^\.PHONY: ([a-z-]+)$", makefile, re.MULTILINE))


def test_every_command_that_is_shown_exists():
    known = {usage.split()[0] for usage, _ in readme_blocks.command_list()}
    shown = set(re.findall(r"^(?:\.venv/bin/)?chatflow-ingest ([a-z]+)", TEXT, re.MULTILINE))

    assert shown
    assert shown <= known


def test_links_lead_somewhere():
    targets = [t for t in re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT) if "://" not in t]

    assert targets
    assert [target for target in targets if not Path(ROOT, target).exists()] == []


def test_the_namespace_of_batch_ids_is_the_codes():
    from worker.client import BATCH_NAMESPACE

    shown = re.findall(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", TEXT)

    assert BATCH_NAMESPACE in {UUID(text) for text in shown}
