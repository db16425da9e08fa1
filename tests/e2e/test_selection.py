"""What is uploaded where: categories, places, names, lists, folders, and what comes out."""

import csv
import io
import json
import os
from pathlib import Path

from pyarrow import parquet

from tests.e2e.shells import ANYTHING


def category(number, name, formats, places=5, variable=None):
    return {
        "id": number,
        "name": name,
        "support_formats": formats,
        "upload_max_num": places,
        "variable_assign": variable or f"var_{number}",
    }


CATEGORIES = [
    category(1, "Calls", "wav", 2),
    category(2, "Papers", " PDF, .docx ,text", 3),
    category(3, "Anything else", "wav,pdf,png,jpg", 1),
]


def taken(simulator):
    return [each for each in simulator.ledger()["uploads"] if each["taken"]]


def test_files_go_to_their_categories_within_their_places(shell, service):
    simulator = service(categories=CATEGORIES, limits={"enforce_places": True})
    for pattern, count in (("{}.wav", 7), ("{}.pdf", 4), ("{}.txt", 4), ("{}.PNG", 3)):
        shell.put_many(pattern, count)
    ran = shell.type("run", str(shell.inbox), "--json", "--inputs", '{"language": "zh", "n": [1]}')
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": 18}), ran.stderr
    assert simulator.summary()["uploads_refused"] == 0
    lines = shell.results(ran.batch)
    for upload in taken(simulator):
        name, fields = upload["file_name"], upload["fields"]
        expected = {"wav": "Calls", "pdf": "Papers", "txt": "Papers", "PNG": "Anything else"}
        assert lines[name]["category"] == expected[name.rpartition(".")[2]]
        assert json.loads(fields["inputs"]) == {"language": "zh", "n": [1]}
        assert lines[name]["sha256"] == upload["sha256"]
        assert lines[name]["size"] == upload["size"]
        assert lines[name]["chatflow_file_id"] == str(upload["id"])


def test_a_category_by_name(shell, service):
    simulator = service(categories=CATEGORIES)
    paths = [shell.put("a.wav"), shell.put("b.pdf"), shell.put("c.docx")]
    ran = shell.type("run", *paths, "--category", "Anything else", "--json")
    assert ran.json["counts"] == {"succeeded": 2, "rejected": 1}
    assert {each["fields"]["extra_params"] for each in taken(simulator)} == {"var_3"}
    gone = shell.type("run", *paths, "--category", "Nonsense", "--json")
    assert (gone.code, gone.json["counts"]) == (1, {"rejected": 3})
    for line in shell.results(gone.batch).values():
        assert line["error_code"] == "no_such_category"
        assert all(name in line["error_message"] for name in ("Calls", "Papers", "Anything else"))
    assert len(taken(simulator)) == 2


def test_categories_that_change_between_dialogs(shell, service):
    simulator = service(
        categories=[category(1, "Calls", "wav", 3)],
        limits={"enforce_places": True},
        faults=[{"on": "dialog", "do": "limits", "upload_max_num": {"Calls": 1}, "every": 2}],
    )
    ran = shell.type("run", *shell.put_many("{}.wav", 14), "--json")
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": 14}), ran.stderr
    assert simulator.summary()["uploads_refused"] == 0


ODD_NAMES = [
    "with space.wav", " leading.wav", "quote'.wav", 'double".wav', "new\nline.wav", "tab\t.wav",
    "emoji 😀.wav", "中文 录音.wav", "percent%20.wav", "hash#?.wav", "-dash.wav", "back\\slash.wav",
    "semi;colon.wav", "..dots..wav", "e\u0301.wav", "\u202ereversed.wav", "a" * 240 + ".wav",
    "*.wav", "[x].wav", "$(touch x).wav", "\x1b[2J.wav", "crlf\r\n.wav", "null%00.wav", "file:.wav",
]  # fmt: skip


def test_odd_names_are_names(shell, service):
    simulator = service(categories=ANYTHING)
    for name in ODD_NAMES:
        shell.put(name, f"content of {ODD_NAMES.index(name)}")
    raw = os.fsencode(shell.inbox) + b"/not-utf8-\xff\xfe.wav"
    Path(os.fsdecode(raw)).write_bytes(b"raw")
    ran = shell.type("run", str(shell.inbox), "--json")
    total = len(ODD_NAMES) + 1
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": total}), ran.stderr
    assert "\x1b[2J" not in ran.stderr
    lines = shell.results(ran.batch)
    assert len(lines) == total
    assert set(ODD_NAMES) <= set(lines)
    assert len({line["sha256"] for line in lines.values()}) == total
    assert len(taken(simulator)) == total
    named = shell.type("run", *(str(shell.inbox / name) for name in ODD_NAMES), raw, "--json")
    assert (named.code, named.json["total"]) == (0, total)
    for form in ("csv", "parquet"):
        output = shell.folder / f"out.{form}"
        wrote = shell.type("results", ran.batch, "--format", form, "--output", str(output))
        assert wrote.code == 0, wrote.stderr
    rows = list(csv.DictReader(io.StringIO((shell.folder / "out.csv").read_bytes().decode())))
    assert {row["name"] for row in rows} == set(lines)
    table = parquet.read_table(shell.folder / "out.parquet").to_pylist()
    assert {row["name"] for row in table} == set(lines)


def test_a_list_on_stdin(shell, service):
    simulator = service(categories=ANYTHING)
    shell.put_many("sub/{}.wav", 2)
    lines = [
        shell.put("a.wav"),
        "",
        "in/b.wav",
        str(shell.inbox / "gone.wav"),
        f"{shell.inbox}/sub",
    ]
    shell.put("b.wav")
    listed = "\r\n".join(lines).encode() + b"\n" + os.fsencode(shell.inbox) + b"/\xe9.wav"
    (shell.inbox / os.fsdecode(b"\xe9.wav")).write_bytes(b"latin")
    ran = shell.type("run", "-", "--json", stdin=listed)
    assert (ran.code, ran.json["counts"]) == (1, {"succeeded": 5, "rejected": 1}), ran.stderr
    assert len(taken(simulator)) == 5
    empty = shell.type("run", "-", "--json", stdin=b"")
    assert (empty.code, empty.json["total"], empty.json["state"]) == (1, 0, "finished")


def test_folders(shell, service):
    service(categories=ANYTHING)
    for name in ("a.wav", "b.pdf", "deep/er/c.wav", "deep/d.txt", ".hidden.wav"):
        shell.put(name)
    for arguments, expected in (
        (["--glob", "?.*"], {"a.wav", "b.pdf"}),
        (["--recursive"], {"a.wav", "b.pdf", "c.wav", "d.txt", ".hidden.wav"}),
    ):
        ran = shell.type("run", str(shell.inbox), *arguments, "--json")
        assert ran.code == 0, ran.stderr
        assert set(shell.results(ran.batch)) == expected


SEGMENTS = [
    {"text": "message1", "speaker_id": 0},
    {"text": "message2", "speaker_id": 1},
    {"text": "message3", "speaker_id": 1},
]
SHAPES = {
    "python_repr": {"shape": "python_repr", "segments": SEGMENTS},
    "broken_repr": {"shape": "broken_repr", "segments": SEGMENTS},
    "fenced": {"shape": "fenced", "segments": SEGMENTS},
    "json": {"shape": "json", "segments": SEGMENTS},
    "list": {"shape": "list", "segments": SEGMENTS},
    "text": {"shape": "text", "text": "plain words"},
    "dirty": {"shape": "dirty"},
    "empty_list": {"shape": "empty_list"},
    "empty_text": {"shape": "empty_text"},
    "null": {"shape": "null"},
    "object": {"shape": "value", "value": {"a": 9007199254740993, "b": [None, True]}},
    "number": {"shape": "value", "value": 7},
    "strings": {"shape": "value", "value": ['[{"text": "x"}]', '[{"text": "y"}]']},
    "big": {"shape": "text", "text": "b", "size": 3_000_000},
}


def test_contents_come_out_in_every_shape_and_format(shell, service):
    rules = [
        {"file_name": f"{name}.wav", "parse_content": content} for name, content in SHAPES.items()
    ]
    rules.append({"file_name": "llm.wav", "llm_content": {"shape": "dirty"}})
    rules.append(
        {"file_name": "llmjson.wav", "llm_content": {"shape": "value", "value": {"k": "\ud800"}}}
    )
    service(categories=ANYTHING, rules=rules)
    for rule in rules:
        shell.put(rule["file_name"])
    ran = shell.type("run", str(shell.inbox), "--json")
    assert ran.code == 0, ran.stderr
    lines = {n.removesuffix(".wav"): line for n, line in shell.results(ran.batch).items()}
    for name in ("python_repr", "fenced", "json", "list"):
        assert lines[name]["parse_segments"] == SEGMENTS, name
        assert isinstance(lines[name]["parse_content"], str), name
    broken = lines["broken_repr"]["parse_segments"]
    assert [s["speaker_id"] for s in broken] == [0, 1, 1]
    assert [s["text"].lstrip("\\") for s in broken] == ["message1", "message2", "message3"]
    assert lines["text"]["parse_segments"] is None
    assert lines["text"]["parse_content"] == "plain words"
    assert lines["dirty"]["parse_content"].startswith("before\ufffdafter \ufffd ")
    assert lines["dirty"]["sanitized"] is True
    assert lines["llm"]["sanitized"] is True
    assert lines["llm"]["llm_content"].startswith("before\ufffdafter")
    assert lines["llmjson"]["sanitized"] is True
    assert lines["text"]["sanitized"] is False
    assert lines["null"]["parse_content"] is None
    assert lines["object"]["parse_segments"] == {"a": 9007199254740993, "b": [None, True]}
    assert lines["strings"]["parse_segments"] == [{"text": "x"}, {"text": "y"}]
    assert len(lines["big"]["parse_content"]) == 3_000_000
    written = shell.type("results", ran.batch, "--format", "csv")
    csv.field_size_limit(10_000_000)
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(written.stdout))}
    assert json.loads(rows["json.wav"]["parse_segments"]) == SEGMENTS
    output = shell.folder / "out.parquet"
    assert shell.type("results", ran.batch, "--format", "parquet", "-o", str(output)).code == 0
    table = {row["name"]: row for row in parquet.read_table(output).to_pylist()}
    assert len(table) == len(lines)
    assert table["text.wav"]["parse_content"] == "plain words"
    assert json.loads(table["json.wav"]["parse_segments"]) == SEGMENTS


def test_liberties_on_the_wire(shell, service):
    wire = {"numbers_as_strings": True, "code_as_integer": True}
    simulator = service(categories=ANYTHING, wire=wire)
    ran = shell.type("run", *shell.put_many("{}.wav", 3), "--json")
    assert (ran.code, ran.json["counts"]) == (0, {"succeeded": 3}), ran.stderr
    ids = {line["chatflow_file_id"] for line in shell.results(ran.batch).values()}
    assert ids == {str(each["id"]) for each in taken(simulator)}
