"""What README, reference and operations repeat from the code is what the code says."""

import re
import sqlite3
from contextlib import closing
from uuid import UUID

import pytest

from tests import pages, readme_blocks
from worker.adapters.database.engine.migrate import upgrade
from worker.core.result_line import COLUMNS

TEXT = pages.README.read_text(encoding="utf-8")
REFERENCE = pages.REFERENCE.read_text(encoding="utf-8")
ROOT = pages.ROOT


def blocks(language, text=TEXT):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("name", readme_blocks.BLOCKS)
def test_generated_blocks_are_what_make_readme_would_write(name):
    assert readme_blocks.written(name) == readme_blocks.drawn(name), "run `make readme`"


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


@pytest.mark.parametrize(
    "page", [pages.README, pages.REFERENCE, pages.OPERATIONS], ids=lambda page: page.name
)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    places = [target.partition("#") for target in targets if "://" not in target]
    files = [(page.parent / file if file else page, anchor) for file, _, anchor in places]

    assert files
    assert [str(file) for file, _ in files if not file.exists()] == []
    assert [anchor for file, anchor in files if anchor and anchor not in pages.anchors(file)] == []


def test_pictures_are_small():
    pictures = [*(ROOT / "deploy" / "pictures").iterdir()]

    assert pictures
    assert [p.name for p in pictures if p.stat().st_size > 150_000] == []


def test_the_readme_stays_short():
    assert len(TEXT.splitlines()) <= 320


def test_the_reference_names_every_field_of_a_result_line():
    table = REFERENCE.partition("## A result line")[2].partition("\n## ")[0]

    assert set(re.findall(r"`(\w+)`", table)) >= set(COLUMNS)


def test_the_namespace_of_batch_ids_is_the_codes():
    from worker.client import BATCH_NAMESPACE

    shown = re.findall(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", TEXT)

    assert BATCH_NAMESPACE in {UUID(text) for text in shown}


def test_the_queries_work_on_the_view(tmp_path):
    database = tmp_path / "ingest.db"
    upgrade(f"sqlite:///{database}")
    statements = [
        statement
        for block in blocks("sql", REFERENCE)
        for statement in block.split(";")
        if statement.strip()
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
