"""``plan``: what would become of the files, without uploading any."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import uuid4

import typer

from worker.cli.faults import NOT_ALL, OK
from worker.cli.interruption import interruptible
from worker.cli.options import (
    AsJson,
    Category,
    Glob,
    Paths,
    ProfileName,
    Recursive,
    database_file,
    selection,
)
from worker.cli.terminal import put, put_json, put_table, table
from worker.core.model import Category as Offer
from worker.core.model import FileId
from worker.core.planning import Candidate
from worker.core.planning import plan as plan_loads
from worker.errors import SourceRejected
from worker.ports import Sources


@dataclass(frozen=True, slots=True)
class Fate:
    """What would become of one file; `dialog` counts from 1."""

    source: str
    name: str | None = None
    size: int | None = None
    category: str | None = None
    dialog: int | None = None
    error_code: str | None = None
    error_message: str | None = None


def plan(
    paths: Paths = None,
    *,
    recursive: Recursive = False,
    glob: Glob = None,
    category: Category = None,
    profile: ProfileName = "default",
    as_json: AsJson = False,
) -> None:
    """Say which file would go to which category, in how many dialogs, and what would be rejected.

    Opens one dialog to learn the categories; uploads and stores nothing. Exit code 1 when
    anything would be rejected.

    [bold]Example[/]

    chatflow-ingest plan /data/calls --recursive --glob "*.wav"
    """
    from worker.adapters.sources import FileSources
    from worker.connections import plan_dialog
    from worker.settings import Settings

    chosen = selection(paths, glob, recursive=recursive)
    with interruptible():
        settings = Settings.load()
        configured = settings.profile(profile)
        sources = FileSources(settings.roots, configured.max_file_bytes)
        categories = plan_dialog(settings, profile).node.categories
        found = chosen.sources(database_file(settings.database_url), settings.roots)
        fates = foresee(found, sources, categories, category)
    if as_json:
        put_json(_plan_object(fates, categories))
    else:
        _put_plan(fates, categories)
    raise typer.Exit(NOT_ALL if any(fate.error_code for fate in fates) else OK)


def foresee(
    paths: Iterable[str], sources: Sources, offers: Iterable[Offer], wanted: str | None = None
) -> list[Fate]:
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


def _examined(paths: Iterable[str], sources: Sources) -> Iterator[Fate]:
    for path in dict.fromkeys(paths):
        try:
            found = sources.examine(path)
        except SourceRejected as error:
            yield Fate(path, error_code=error.code, error_message=error.message)
        else:
            yield Fate(path, found.name, found.size)


def _dialogs(fates: Iterable[Fate]) -> int:
    return max((fate.dialog for fate in fates if fate.dialog), default=0)


def _plan_object(fates: list[Fate], offers: Iterable[Offer]) -> dict[str, Any]:
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


def _put_plan(fates: list[Fate], offers: Iterable[Offer]) -> None:
    put_table(
        table(
            "file",
            "bytes",
            "category",
            "dialog",
            "rejected",
            rows=(
                (
                    fate.source,
                    fate.size,
                    fate.category,
                    fate.dialog,
                    fate.error_code and f"{fate.error_code}: {fate.error_message}",
                )
                for fate in fates
            ),
        )
    )
    put_table(
        table(
            "category",
            "formats",
            "files a dialog",
            rows=((o.name, ", ".join(o.formats), o.upload_max_num) for o in offers),
        )
    )
    rejected = sum(fate.error_code is not None for fate in fates)
    put(f"{len(fates)} files, {rejected} rejected, {_dialogs(fates)} dialogs")
