"""Foretelling what would become of files: which category, which dialog, or why not."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import uuid4

from worker.cli.exit_codes import NOT_ALL, OK
from worker.cli.fitting import folded, near
from worker.cli.interruption import interruptible
from worker.cli.nothing import some
from worker.cli.options import Selection
from worker.cli.terminal import put, put_json, put_table, shown, table
from worker.core.addresses import bare
from worker.core.model.ids import FileId
from worker.core.model.wire import Category as Offer
from worker.core.planning import Candidate
from worker.core.planning import plan as plan_loads
from worker.core.words import counted
from worker.errors import SourceRejected
from worker.ports.sources import Sources


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """What would become of one file; `dialog` counts from 1."""

    source: str
    name: str | None = None
    size: int | None = None
    category: str | None = None
    dialog: int | None = None
    error_code: str | None = None
    error_message: str | None = None


def foretell(
    chosen: Selection, category: str | None, profile: str, *, as_json: bool, allow_empty: bool
) -> int:
    """Say what would become of the chosen files; returns the exit code.

    Raises:
        NothingFound: there is none, and that is not allowed.
    """
    from worker.adapters.files.sources import FileSources
    from worker.connections import plan_dialog
    from worker.settings import Settings

    with interruptible():
        settings = Settings.load()
        configured = settings.profile(profile)
        found = chosen.sources(settings)
        if not allow_empty:
            found = some(found, chosen)
        sources = FileSources(settings.roots, configured.max_file_bytes, settings.source_options)
        categories = plan_dialog(settings, profile).node.categories
        fates = foresee(found, sources, categories, category)
    if as_json:
        put_json(_plan_object(fates, categories))
    else:
        _put_plan(fates, categories)
    return NOT_ALL if any(fate.error_code for fate in fates) else OK


def foresee(
    paths: Iterable[str], sources: Sources, offers: Iterable[Offer], wanted: str | None = None
) -> list[PlannedFile]:
    """Each file's fate, in the order in which they were named."""
    fates = {FileId(uuid4()): fate for fate in _examined(paths, sources)}
    candidates = [
        Candidate(file, fate.name, wanted) for file, fate in fates.items() if fate.name is not None
    ]
    planned = plan_loads(candidates, tuple(offers))
    for dialog, load in enumerate(planned.loads, start=1):
        for place in load.assignments:
            fates[place.file] = replace(
                fates[place.file], category=place.category.name, dialog=dialog
            )
    for file, reason in planned.rejections:
        fates[file] = replace(fates[file], error_code=reason.code, error_message=reason.message)
    return list(fates.values())


def _examined(paths: Iterable[str], sources: Sources) -> Iterator[PlannedFile]:
    for path in dict.fromkeys(paths):
        try:
            found = sources.examine(path)
        except SourceRejected as error:
            yield PlannedFile(path, error_code=error.code, error_message=error.message)
        else:
            yield PlannedFile(path, found.name, found.size)


def _dialogs(fates: Iterable[PlannedFile]) -> int:
    return max((fate.dialog for fate in fates if fate.dialog), default=0)


def _plan_object(fates: list[PlannedFile], offers: Iterable[Offer]) -> dict[str, Any]:
    rejected = sum(fate.error_code is not None for fate in fates)
    return {
        "files": [asdict(fate) for fate in fates],
        "total": len(fates),
        "rejected": rejected,
        "dialogs": _dialogs(fates),
        "categories": [
            {
                "id": offer.id,
                "name": offer.name,
                "formats": list(offer.formats),
                "upload_max_num": offer.upload_max_num,
            }
            for offer in offers
        ],
    }


def _rejection(fate: PlannedFile) -> str | None:
    return fate.error_code and f"{fate.error_code}: {fate.error_message}"


def _put_rejections(fates: Iterable[PlannedFile]) -> None:
    for fate in fates:
        if fate.error_code is not None:
            name = near(bare(fate.source), sys.stdout)
            put(folded(shown(f"  {name}  {_rejection(fate)}"), " " * 4, sys.stdout))


def _put_plan(fates: list[PlannedFile], offers: Iterable[Offer]) -> None:
    names = ["file", "bytes", "category", "dialog"]
    rows = [[near(bare(f.source), sys.stdout), f.size, f.category, f.dialog] for f in fates]
    if not sys.stdout.isatty():  # where there is no width to keep to, each row tells all
        names.append("rejected")
        for row, fate in zip(rows, fates, strict=True):
            row.append(_rejection(fate))
    put_table(table(*names, rows=rows))
    if sys.stdout.isatty():
        _put_rejections(fates)
    put_table(
        table(
            "category",
            "formats",
            "files a dialog",
            rows=((o.name, ", ".join(o.formats), o.upload_max_num) for o in offers),
        )
    )
    rejected = sum(fate.error_code is not None for fate in fates)
    files, dialogs = counted(len(fates), "file"), counted(_dialogs(fates), "dialog")
    put(f"{files}, {rejected} rejected, {dialogs}")
