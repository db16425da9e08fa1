"""Which file goes to which category, in how few dialog sessions, and what can't go anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from worker.codes import ErrorCode
from worker.core.model.files import ErrorNote
from worker.core.model.ids import FileId
from worker.core.model.wire import Category, ParseMethod, UploadForm, UploadNode

_SYNONYMS = {"text": "txt"}  # a category's formats and a file's own are held against each other so

IMAGE_FORMATS = frozenset(
    {
        "avif",
        "bmp",
        "gif",
        "heic",
        "heif",
        "ico",
        "jfif",
        "jpe",
        "jpeg",
        "jpg",
        "png",
        "svg",
        "tif",
        "tiff",
        "webp",
    }
)
"""Formats that the service knows by the one word "Image".

Observed with working clients: a live node's parse methods name `pdf` and `Image` and no other
format, so "Image" in a method stands for every picture. The vendor's reference gives the same
word as the upload's `file_format` where no method names the picture's own format.
"""
_IMAGE = "Image"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that wants a place; `wanted` names its category, None leaves that to the format."""

    file: FileId
    name: str
    wanted: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """A file with its place; `method` is None when the category names none for its format."""

    file: FileId
    name: str
    category: Category
    method: ParseMethod | None


@dataclass(frozen=True, slots=True)
class Load:
    """What one dialog session serves, in the order the files came."""

    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Every candidate exactly once: in a load, or rejected with a reason."""

    loads: tuple[Load, ...]
    rejections: tuple[tuple[FileId, ErrorNote], ...]


def format_of(name: str) -> str:
    """The file's format as categories name it: its extension in lower case, "" for none."""
    stem, _, extension = name.rpartition("/")[2].rpartition(".")
    return _canonical(f".{extension}") if stem else ""


def plan(candidates: Sequence[Candidate], categories: Sequence[Category]) -> Plan:
    """Spread the candidates over the fewest dialog sessions.

    A session takes at most `upload_max_num` files of each category, so the category with the
    most sessions to fill says how many there are. A file that wants no category goes to the
    first one, in the service's order, that takes its format.
    """
    loads: list[list[Assignment]] = []
    rejections: list[tuple[FileId, ErrorNote]] = []
    placed: Counter[int] = Counter()
    for candidate in candidates:
        place = _place(candidate, categories)
        if isinstance(place, ErrorNote):
            rejections.append((candidate.file, place))
            continue
        category = categories[place]
        turn = placed[place] // category.upload_max_num
        placed[place] += 1
        if turn == len(loads):
            loads.append([])
        loads[turn].append(_assign(candidate, category))
    return Plan(tuple(Load(tuple(load)) for load in loads), tuple(rejections))


def form_for(assignment: Assignment, node: UploadNode, inputs: str | None) -> UploadForm:
    """The text fields of the assignment's upload.

    The service expects as `file_format` what the matching parse method names, else "Image" for
    an image and nothing for anything else.
    """
    method = assignment.method or ParseMethod("", "", "")
    return UploadForm(
        flow_uuid=node.flow_uuid,
        extra_params=assignment.category.variable,
        file_name=assignment.name,
        file_format=method.file_format or _unnamed_format(assignment.name),
        parse_model=method.parse_model,
        parse_prompt=method.parse_prompt,
        inputs=inputs,
    )


def _canonical(file_format: str) -> str:
    word = file_format.strip().lower().lstrip(".")
    return _SYNONYMS.get(word, word)


def _unnamed_format(name: str) -> str:
    return _IMAGE if format_of(name) in IMAGE_FORMATS else ""


def _takes(category: Category, file_format: str) -> bool:
    return category.upload_max_num > 0 and file_format in map(_canonical, category.formats)


def _place(candidate: Candidate, categories: Sequence[Category]) -> int | ErrorNote:
    """The position of the category that gets the file, or why none does."""
    file_format = format_of(candidate.name)
    for position, category in enumerate(categories):
        if candidate.wanted in (None, category.name) and _takes(category, file_format):
            return position
    return _refusal(candidate, file_format, categories)


def _refusal(candidate: Candidate, file_format: str, categories: Sequence[Category]) -> ErrorNote:
    found = f'"{candidate.name}" is of {f"format {file_format}" if file_format else "no format"}'
    if candidate.wanted is None:
        return ErrorNote(
            ErrorCode.UNSUPPORTED_FORMAT, f"{found}; the service takes {_formats(categories)}"
        )
    named = [category for category in categories if category.name == candidate.wanted]
    if named:
        return ErrorNote(
            ErrorCode.UNSUPPORTED_FORMAT,
            f'{found}; category "{candidate.wanted}" takes {_formats(named)}',
        )
    names = ", ".join(f'"{category.name}"' for category in categories) or "none at all"
    return ErrorNote(
        ErrorCode.NO_SUCH_CATEGORY,
        f'the service offers no category "{candidate.wanted}"; it offers {names}',
    )


def _formats(categories: Sequence[Category]) -> str:
    """The formats that can be uploaded, each once, in the service's order."""
    open_ones = (category for category in categories if category.upload_max_num > 0)
    words = dict.fromkeys(_canonical(word) for one in open_ones for word in one.formats)
    return ", ".join(words) or "no files at all"


def _assign(candidate: Candidate, category: Category) -> Assignment:
    method = _method_for(format_of(candidate.name), category.parse_methods)
    return Assignment(candidate.file, candidate.name, category, method)


def _method_for(file_format: str, methods: Sequence[ParseMethod]) -> ParseMethod | None:
    """The method for a format: one that names it, else one for "Image", else one for any.

    Of several that would do alike the first counts; a method may name several formats.
    """
    kinds = [file_format, *([_IMAGE.lower()] if file_format in IMAGE_FORMATS else []), ""]
    firsts: dict[str, ParseMethod] = {}
    for method in methods:
        for word in _named(method) or {""}:
            firsts.setdefault(word, method)
    return next((firsts[kind] for kind in kinds if kind in firsts), None)


def _named(method: ParseMethod) -> set[str]:
    return {_canonical(word) for word in method.file_format.split(",")} - {""}
