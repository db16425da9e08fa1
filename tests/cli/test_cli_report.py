"""The page about a batch: whole, harmless, and readable in a browser."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.desk import BATCH, CREW, EVIL, invoke
from worker.core.lifecycle import FileState, Lane
from worker.core.model.batches import NewBatch
from worker.core.model.ids import BatchId, UploadId
from worker.core.model.wire import Contents
from worker.core.verdicts import Accepted, Ended, Traits

HARM = "<script>document.title='harmed'</script>"


@pytest.fixture
def harmful(filled):
    """A batch whose file, category and contents all try to be HTML."""
    batch = BatchId(uuid4())
    filled.create_batch(NewBatch(batch, "default", CREW, external_key=HARM))
    filled.cancel(BATCH)
    filled.add_files(batch, [f"/in/{HARM}", "/in/</title><img src=x onerror=alert(1)>"])
    (one, _) = sorted(filled.claim("default", CREW, Lane.SUBMIT, 10, 60).files, key=lambda f: f.id)
    said = Contents(HARM, [{"text": HARM, "speaker_id": HARM}], HARM)
    sent = Traits(HARM, 7, "0" * 64)
    filled.record([Accepted(one.id, one.token, UploadId(uuid4()), "9", sent, 0.0, 60.0)])
    (held,) = filled.claim("default", CREW, Lane.POLL, 10, 60).files
    filled.record(
        [Ended(held.id, held.token, FileState.SUCCEEDED, status=5, contents=said, asked=True)]
    )
    filled.seal(batch)
    filled.cancel(batch)
    return batch


def page(*arguments):
    result = invoke("report", *arguments, "-o", "-")
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_a_report_tells_the_batch(filled):
    told = page("latest")
    for words in (
        "nightly",
        str(BATCH),
        "one.wav",
        "no text layer",
        "parse_failed",
        "你好",
        "a summary",
    ):
        assert words in told
    assert "\x1b" not in told
    assert r"evil\x1b[2J\nname.wav" in told


def test_a_file_without_contents_says_why(filled):
    said = re.search(r"<summary>two.pdf.*?</summary>\s*(.*?)</details>", page("latest"), re.DOTALL)[
        1
    ]

    assert "No contents. Failed: <code>parse_failed</code> no text layer" in said


def test_a_table_that_nobody_looks_at_yet_takes_the_room_of_its_rows(filled):
    (height,) = re.findall(r"contain-intrinsic-size:auto (\d+)px", page("latest"))

    assert 4 * 25 < int(height) < 4 * 60


def test_contents_may_be_left_out(filled):
    for more in (["--no-contents"], ["--contents", "0"]):
        assert "你好" not in page("latest", *more)


def test_the_one_json_object_says_where_the_page_is(filled, tmp_path):
    result = invoke("report", "latest", "--json")
    path = tmp_path / f"report-{BATCH}.html"
    assert json.loads(result.stdout) == {"batch_id": str(BATCH), "path": str(path)}
    assert path.exists()
    assert invoke("report", "latest", "--json", "-o", "-").exit_code == 2


def test_it_goes_to_a_file_named_after_the_batch(filled, tmp_path):
    result = invoke("report", "latest")
    assert result.exit_code == 0
    assert (tmp_path / f"report-{BATCH}.html").read_text().startswith("<!doctype html>")
    assert invoke("report", "nothing").exit_code == 2


def test_nothing_that_a_file_says_becomes_html(harmful):
    told = page(str(harmful))
    assert told.count("<script") == 1
    assert "<img" not in told
    assert "&lt;script&gt;" in told


def test_the_page_asks_no_network_and_runs_only_its_own_script(filled):
    told = page("latest")
    script = re.search(r"<script>(.*?)</script>", told, re.DOTALL)[1]
    named = re.search(r"script-src 'sha256-([^']+)'", told)[1]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == named
    assert "default-src 'none'" in told
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", told)


def test_an_empty_batch_has_a_page(store):
    batch = BatchId(uuid4())
    store.create_batch(NewBatch(batch, "default", CREW))
    assert "No files" in page(str(batch))


def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        word = "no chromium: apt-get install chromium"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(word)
        pytest.skip(word)
    return found


def shown_in_a_browser(html, tmp_path):
    """The document after its scripts have run."""
    (tmp_path / "page.html").write_text(html)
    profile = f"--user-data-dir={tmp_path / 'chromium'}"
    command = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", profile, "--dump-dom",
        (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_in_a_browser_files_are_filtered_and_sorted(filled, tmp_path):
    """The page's own script, followed by what a reader's hand does; its policy names only the one."""
    hand = (
        'document.getElementById("state").value="failed";'
        'document.getElementById("state").dispatchEvent(new Event("change"));'
        'var heads=document.querySelectorAll(".files th");heads[0].click();heads[0].click()'
    )
    told = re.sub(r"<meta http-equiv[^>]*>", "", page("latest"))
    dom = shown_in_a_browser(told.replace("</body>", f"<script>{hand}</script></body>"), tmp_path)

    rows = re.findall(r"<tr( hidden=\"\")?><td class=\"name\" title=\"([^\"]*)\"", dom)
    assert [Path(source).name for _, source in rows] == [
        "waiting.txt", "two.pdf", "one.wav", r"evil\x1b[2J\nname.wav",
    ]  # fmt: skip
    assert [Path(source).name for hidden, source in rows if not hidden] == ["two.pdf"]
    assert "1 of 4 files" in dom


def test_in_a_browser_a_file_named_like_a_script_does_nothing(harmful, tmp_path):
    dom = shown_in_a_browser(page(str(harmful)), tmp_path)
    assert "<title>harmed" not in dom
    assert dom.count("<script") == 1
    assert '<div id="controls">' in dom  # its own script has run, and shows what it serves
    assert EVIL not in dom
