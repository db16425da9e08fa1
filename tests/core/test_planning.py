from collections import Counter
from math import ceil
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.model.ids import FileId
from worker.core.model.wire import Category, ParseMethod, UploadNode
from worker.core.planning import Assignment, Candidate, Plan, form_for, format_of, plan


def file_id(number: int) -> FileId:
    return FileId(UUID(int=number))


def category(
    name: str,
    *formats: str,
    most: int = 5,
    methods: tuple[ParseMethod, ...] = (),
    number: int = 1,
    variable: str = "",
) -> Category:
    return Category(number, name, formats, most, variable, methods)


def candidates(*names: str, wanted: str | None = None) -> list[Candidate]:
    return [Candidate(file_id(i), name, wanted) for i, name in enumerate(names)]


def names_of(result: Plan) -> list[list[str]]:
    return [[a.name for a in load.assignments] for load in result.loads]


CONTRACT = category("Contract", "doc", "pdf", "txt", most=2)
CERTIFICATE = category("Certificate", "png", "pdf", most=3)
AUDIO = category("Audio test", "wav", most=1)
ALL = (CONTRACT, CERTIFICATE, AUDIO)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("call.WAV", "wav"),
        ("notes.text", "txt"),
        ("archive.tar.gz", "gz"),
        ("folder.d/plain", ""),
        (".hidden", ""),
        ("dot.", ""),
        ("scan.Pdf ", "pdf"),
        ("", ""),
    ],
)
def test_format_is_the_lower_case_extension(name: str, expected: str) -> None:
    assert format_of(name) == expected


def test_the_first_category_in_the_services_order_that_takes_the_format_gets_the_file() -> None:
    [load] = plan(candidates("a.pdf", "b.png", "c.wav"), ALL).loads
    assert [a.category.name for a in load.assignments] == ["Contract", "Certificate", "Audio test"]


def test_the_maximum_counts_for_each_category_and_order_is_kept() -> None:
    result = plan(candidates("1.doc", "2.wav", "3.doc", "4.doc", "5.wav", "6.png"), ALL)
    assert names_of(result) == [["1.doc", "2.wav", "3.doc", "6.png"], ["4.doc", "5.wav"]]


def test_a_wanted_category_is_taken_although_an_earlier_one_would_do() -> None:
    [load] = plan(candidates("a.pdf", wanted="Certificate"), ALL).loads
    assert load.assignments[0].category is CERTIFICATE


def test_each_candidate_may_want_another_category() -> None:
    mixed = [Candidate(file_id(1), "a.pdf", "Certificate"), Candidate(file_id(2), "b.pdf")]
    [load] = plan(mixed, ALL).loads
    assert [a.category.name for a in load.assignments] == ["Certificate", "Contract"]


def test_a_category_that_is_not_offered_is_refused_with_the_names_there_are() -> None:
    [(file, note)] = plan(candidates("a.pdf", wanted="Invoice"), ALL).rejections
    assert file == file_id(0)
    assert note.code == "no_such_category"
    for name in ("Invoice", "Contract", "Certificate", "Audio test"):
        assert f'"{name}"' in note.message


def test_a_wanted_category_that_does_not_take_the_format_says_what_it_takes() -> None:
    [(_, note)] = plan(candidates("a.wav", wanted="Certificate"), ALL).rejections
    assert note.code == "unsupported_format"
    assert "png, pdf" in note.message
    assert "Contract" not in note.message


def test_a_format_that_nobody_takes_says_which_there_are() -> None:
    rejections = plan(candidates("a.zip", "README"), ALL).rejections
    assert [note.code for _, note in rejections] == ["unsupported_format"] * 2
    assert all("doc, pdf, txt, png, wav" in note.message for _, note in rejections)


@pytest.mark.parametrize("most", [0, -1])
def test_a_category_with_no_room_takes_nothing(most: int) -> None:
    closed = category("Closed", "pdf", most=most)
    result = plan(candidates("a.pdf"), (closed, CERTIFICATE))
    assert result.loads[0].assignments[0].category is CERTIFICATE
    [(_, note)] = plan(candidates("a.pdf"), (closed,)).rejections
    assert note.code == "unsupported_format"
    assert "no files at all" in note.message


def test_without_categories_everything_is_refused() -> None:
    assert plan(candidates("a.pdf"), ()).rejections[0][1].code == "unsupported_format"
    assert plan(candidates("a.pdf", wanted="X"), ()).rejections[0][1].code == "no_such_category"


def test_text_and_txt_are_one_format_on_both_sides() -> None:
    spelt_out = category("Notes", "text")
    assert len(plan(candidates("a.txt", "b.TEXT"), (spelt_out,)).loads[0].assignments) == 2


@pytest.mark.parametrize(
    ("name", "model"),
    [("a.pdf", "exact"), ("b.doc", "listed"), ("c.text", "listed"), ("d.png", "any")],
)
def test_the_parse_method_that_names_the_format_wins_over_any(name: str, model: str) -> None:
    methods = (
        ParseMethod("", "any", ""),
        ParseMethod(" Doc, .TXT ,", "listed", ""),
        ParseMethod("pdf", "exact", ""),
        ParseMethod("pdf", "second", ""),
    )
    everything = category("All", "pdf", "doc", "txt", "png", methods=methods)
    [load] = plan(candidates(name), (everything,)).loads
    method = load.assignments[0].method
    assert method is not None
    assert method.parse_model == model


def test_no_method_is_chosen_when_none_matches() -> None:
    only_pdf = category("All", "pdf", "png", methods=(ParseMethod("pdf", "m", "p"),))
    [load] = plan(candidates("a.png"), (only_pdf,)).loads
    assert load.assignments[0].method is None


@pytest.mark.parametrize("word", ["Image", "image", " IMAGE ", "pdf, Image"])
@pytest.mark.parametrize(
    "ending", ["png", "jpg", "jpeg", "bmp", "gif", "tif", "tiff", "webp", "JPG"]
)
def test_a_method_for_image_is_the_method_of_every_picture_format(word: str, ending: str) -> None:
    methods = (
        ParseMethod("", "any", "any"),
        ParseMethod("docx", "text", ""),
        ParseMethod(word, "eyes", "What is seen?"),
    )
    everything = category("All", ending.lower(), "docx", methods=methods)
    [load] = plan(candidates(f"a.{ending}"), (everything,)).loads
    form = form_for(load.assignments[0], NODE, None)
    assert (form.file_format, form.parse_model) == (word, "eyes")
    assert form.parse_prompt == "What is seen?"


@pytest.mark.parametrize(
    ("name", "model"),
    [("a.png", "own"), ("b.jpg", "eyes"), ("c.pdf", "any"), ("d.image", "eyes"), ("e", "any")],
)
def test_a_methods_own_ending_wins_over_image_which_wins_over_any(name: str, model: str) -> None:
    methods = (
        ParseMethod("", "any", ""),
        ParseMethod("Image", "eyes", ""),
        ParseMethod("gif,png", "own", ""),
    )
    everything = category("All", "png", "jpg", "pdf", "image", "", methods=methods)
    [load] = plan(candidates(name), (everything,)).loads
    method = load.assignments[0].method
    assert method is not None
    assert method.parse_model == model


NODE = UploadNode("flow", "session", "node", ALL)


@pytest.mark.parametrize(
    ("name", "method", "file_format"),
    [
        ("a.pdf", ParseMethod("pdf", "model", "prompt"), "pdf"),
        ("a.png", ParseMethod("png,jpg", "model", "prompt"), "png,jpg"),
        ("a.JPG", ParseMethod("", "model", "prompt"), "Image"),
        ("a.pdf", ParseMethod("", "model", "prompt"), ""),
    ],
)
def test_form_takes_the_methods_words(name: str, method: ParseMethod, file_format: str) -> None:
    chosen = category("C", "pdf", variable="content")
    form = form_for(Assignment(file_id(1), name, chosen, method), NODE, '{"a": 1}')
    assert (form.flow_uuid, form.extra_params, form.file_name) == ("flow", "content", name)
    assert (form.parse_model, form.parse_prompt, form.inputs) == ("model", "prompt", '{"a": 1}')
    assert form.file_format == file_format


def test_form_without_a_method_is_empty_but_for_images() -> None:
    chosen = category("C", "pdf")
    assert form_for(Assignment(file_id(1), "a.pdf", chosen, None), NODE, None).file_format == ""
    assert (
        form_for(Assignment(file_id(1), "a.webp", chosen, None), NODE, None).file_format == "Image"
    )


FORMATS = st.sampled_from(["pdf", "txt", "text", "png", "wav", ""])
CATEGORIES = st.lists(
    st.builds(
        Category,
        id=st.integers(0, 3),
        name=st.sampled_from(["A", "B", "C"]),
        formats=st.lists(FORMATS.filter(bool), max_size=3).map(tuple),
        upload_max_num=st.integers(-1, 4),
        variable=st.just(""),
    ),
    max_size=4,
)
CANDIDATES = st.lists(
    st.tuples(FORMATS, st.sampled_from([None, None, "A", "B", "Z"])), max_size=30
).map(
    lambda items: [
        Candidate(file_id(i), f"{i}.{extension}", wanted)
        for i, (extension, wanted) in enumerate(items)
    ]
)


@given(CANDIDATES, CATEGORIES)
def test_every_candidate_has_one_place_and_no_load_is_over_a_maximum(
    files: list[Candidate], offered: list[Category]
) -> None:
    result = plan(files, offered)
    placed = [a.file for load in result.loads for a in load.assignments]
    rejected = [file for file, _ in result.rejections]
    assert Counter(placed + rejected) == Counter(f.file for f in files)
    for load in result.loads:
        counts = Counter(a.category for a in load.assignments)
        assert all(n <= kind.upload_max_num for kind, n in counts.items())
        turns = [a.file.int for a in load.assignments]
        assert turns == sorted(turns)


@given(CANDIDATES, CATEGORIES)
def test_there_are_as_many_loads_as_the_fullest_category_needs(
    files: list[Candidate], offered: list[Category]
) -> None:
    result = plan(files, offered)
    totals = Counter(a.category for load in result.loads for a in load.assignments)
    needed = max((ceil(n / kind.upload_max_num) for kind, n in totals.items()), default=0)
    assert len(result.loads) == needed
    assert all(load.assignments for load in result.loads)
    assert plan(files, offered) == result
