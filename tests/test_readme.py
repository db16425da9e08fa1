"""What the README repeats from the code is what the code says."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from tests import readme_blocks
from worker.adapters.database.migrate import upgrade
from worker.core.result_line import COLUMNS

TEXT = readme_blocks.README.read_text(encoding="utf-8")
ROOT = readme_blocks.README.parent


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


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
    shown = set(re.findall(r"^chatflow-ingest ([a-z]+)", "\n".join(blocks("sh")), re.MULTILINE))

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


def test_the_queries_work_on_the_view(tmp_path):
    database = tmp_path / "ingest.db"
    upgrade(f"sqlite:///{database}")
    statements = [
        statement for block in blocks("sql") for statement in block.split(";") if statement.strip()
    ]

    assert len(statements) >= 2
    with closing(sqlite3.connect(database)) as connection:
        assert [connection.execute(statement).fetchall() for statement in statements] == [[]] * len(
            statements
        )


def test_the_view_has_the_fields_of_a_result_line(tmp_path):
    database = tmp_path / "ingest.db"
    upgrade(f"sqlite:///{database}")
    with closing(sqlite3.connect(database)) as connection:
        described = connection.execute("SELECT * FROM ingested_files").description

    assert {name for name, *_ in described} == {*COLUMNS, "profile", "external_key"}
