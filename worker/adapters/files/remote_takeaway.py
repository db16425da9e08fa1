"""Delete or move an ingested file at a URL, within its store, without ever losing another one.

What is deleted or moved was read once more, and is what was uploaded. On SFTP a move is a rename,
which replaces nothing. An object store knows none: the object is copied there and deleted here.
The name that it gets is first taken by a few bytes of our own, which the store writes only where
nothing is, and then written down in a marker that carries the file's id; so a move that was cut
short at any point is completed by the next attempt, and never made twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from fsspec.asyn import sync

from worker.adapters.files.drivers import SSH, Driver
from worker.adapters.files.opened_file import PIECE, outside, shown
from worker.adapters.files.remote_files import NO_OPTIONS, RemoteFile, RemoteFolder, is_url
from worker.adapters.files.takeaway import LocalTakeAway, free_names
from worker.codes import ErrorCode
from worker.core.addresses import place, scheme_of
from worker.core.model.fleet import Leftover
from worker.core.schedule import MOVE, store_of
from worker.core.source_options import SourceOptions
from worker.errors import ServiceFault, SourceAway, SourceRejected

T = TypeVar("T")


class FileTakeAway:
    """Carries out the `after` rules wherever the files lie, inside the given roots only.

    Args:
        roots: folders and URL prefixes.
        options: what the drivers of URLs are told.
    """

    def __init__(self, roots: Sequence[str], options: SourceOptions = NO_OPTIONS) -> None:
        self._local = LocalTakeAway(roots)
        self._folders = [RemoteFolder(root, options) for root in roots if is_url(root)]
        self._options = options
        self._away: set[RemoteFolder] = set()

    def take_away(self, leftover: Leftover) -> None:
        """Delete or move one file; that it is gone already is no error. Blocking.

        Raises:
            SourceRejected: it can't be done: outside the roots, changed since it was uploaded,
                not a plain file, or no permission.
            TryLater: something that may pass, such as a store that is away; it is not asked again.
        """
        if not is_url(leftover.source):
            self._local.take_away(leftover)
            return
        folder = next((each for each in self._folders if each.holds(leftover.source)), None)
        if folder is None:
            raise outside(leftover.source)
        if folder in self._away:
            raise ServiceFault(f"{shown(leftover.source)}: away", code=ErrorCode.IO_ERROR)
        try:
            _Removal(folder, leftover, self._options).carry_out()
        except SourceAway as error:
            self._away.add(folder)
            raise ServiceFault(error.message, code=ErrorCode.IO_ERROR) from error


class _Removal:
    """One file at a URL that is to be taken away."""

    def __init__(self, folder: RemoteFolder, leftover: Leftover, options: SourceOptions) -> None:
        self._folder = folder
        # Wherever in the store a file is moved to, it gets there as it was reached.
        here = SourceOptions({scheme_of(leftover.source): options.of(leftover.source)})
        self._store = RemoteFolder(leftover.source, here)
        self._leftover = leftover
        self._source = leftover.source
        self._target = leftover.rule.removeprefix(MOVE).rstrip("/")
        self._marker = f"{self._target}/.{leftover.file}.moving"
        self._own = f"{leftover.file}\n".encode()
        self._moves = leftover.rule.startswith(MOVE)

    def carry_out(self) -> None:
        """Do it; what went wrong is looked into outside of any `except`.

        There, what goes wrong next would seem to be caused by it.
        """
        if self._moves and place(self._target) == place(self._source.rpartition("/")[0]):
            return
        self._require_one_store()
        seen, fault = _tried(lambda: self._folder.seen(self._source))
        if seen is None:
            self._clear()
            if fault is not None and fault.code != ErrorCode.NOT_FOUND:
                raise fault
            return
        _, fault = _tried(lambda: self._carry_out(seen))
        if fault is not None and fault.code == ErrorCode.NOT_FOUND:
            raise ServiceFault(fault.message, code=ErrorCode.IO_ERROR) from fault
        if fault is not None:
            self._clear()
            raise fault

    def _carry_out(self, seen: RemoteFile) -> None:
        self._require_uploaded(seen)
        if self._moves:
            self._move(seen)
        else:
            self._remove(seen)

    def _require_one_store(self) -> None:
        if self._moves and store_of(self._target) != store_of(self._source):
            raise SourceRejected(
                f"{shown(self._target)} is another store than {shown(self._source)}",
                code=ErrorCode.TAKE_AWAY_FAILED,
            )

    def _require_uploaded(self, seen: RemoteFile) -> None:
        """Read the file: only what was uploaded is taken away."""
        if seen.size != self._leftover.size:
            raise self._changed()
        if self._do(self._source, _digest) != self._leftover.sha256:
            raise self._changed()

    def _require_same(self, seen: RemoteFile) -> None:
        """Nothing else has come under the file's name meanwhile."""
        if self._folder.seen(self._source) != seen:
            raise self._changed()

    def _changed(self) -> SourceRejected:
        message = f"changed since it was uploaded: {shown(self._source)}"
        return SourceRejected(message, code=ErrorCode.CHANGED)

    def _remove(self, seen: RemoteFile) -> None:
        self._require_same(seen)
        self._do(self._source, _remove_file)

    def _move(self, seen: RemoteFile) -> None:
        if scheme_of(self._source) in SSH:
            self._rename(seen)
            return
        chosen = self._chosen() or self._claimed()
        self._require_same(seen)
        self._do(chosen, self._copy)
        _, fault = _tried(lambda: self._remove(seen))
        if fault is not None:
            self._take_back(chosen, fault)
            raise fault
        self._unlink(self._marker)

    def _take_back(self, chosen: str, fault: SourceRejected) -> None:
        """Undo the copy of a file that could not be deleted, or is not the one that was uploaded.

        Where it is, and nothing else is left of it, somebody else has moved it.
        """
        if fault.code == ErrorCode.NOT_FOUND:
            return
        if fault.code == ErrorCode.CHANGED and self._digest_of(chosen) == self._leftover.sha256:
            return
        _tried(lambda: self._unlink(chosen))

    def _digest_of(self, url: str) -> str | None:
        digest: str | None = self._unless_gone(url, _digest)
        return digest

    # --- SFTP ---

    def _rename(self, seen: RemoteFile) -> None:
        self._do(self._target, lambda driver: driver.system.makedirs(driver.path, exist_ok=True))
        self._require_same(seen)
        for name in self._names():
            target = f"{self._target}/{name}"
            if self._size(target) is None and self._do(target, self._renamed):
                return
        raise self._no_name()

    def _renamed(self, target: Driver) -> bool:
        """Whether the name was free; the plain rename of SFTP refuses one that is not."""
        source = self._store.asked(self._source, lambda driver: driver.path)
        system = target.system
        try:
            sync(system.loop, _plain_rename, system.client, source, target.path)
        except Exception:
            if not system.exists(source) or not system.exists(target.path):
                raise
            return False
        return True

    # --- object stores ---

    def _chosen(self) -> str | None:
        """The name that an earlier attempt took, as its marker says."""
        name = (self._read(self._marker) or b"").decode(errors="replace")
        return f"{self._target}/{name}" if name in self._names() else None

    def _claimed(self) -> str:
        """Take a name that nobody has, and write it down."""
        for name in self._names():
            url = f"{self._target}/{name}"
            if self._is_own(url) or (self._size(url) is None and self._create(url)):
                self._do(self._marker, partial(_write, data=name.encode()))
                return url
        raise self._no_name()

    def _create(self, url: str) -> bool:
        """Whether the name was still free: the store looks, and writes, in one."""

        def write(driver: Driver) -> bool:
            try:
                driver.system.pipe_file(driver.path, self._own, mode="create")
            except Exception:
                if not driver.system.exists(driver.path):
                    raise
                return False
            return True

        return bool(self._do(url, write))

    def _copy(self, target: Driver) -> None:
        source = self._store.asked(self._source, lambda driver: driver.path)
        target.system.cp_file(source, target.path)
        if target.system.info(target.path)["size"] != self._leftover.size:
            raise self._changed()

    def _clear(self) -> None:
        """Take back what a move left that was cut short, and won't be completed."""
        if not self._moves or scheme_of(self._source) in SSH:
            return
        for name in self._names():
            url = f"{self._target}/{name}"
            if self._is_own(url):
                _tried(partial(self._unlink, url))
        _tried(lambda: self._unlink(self._marker))

    # --- what both do ---

    def _names(self) -> Sequence[str]:
        return list(free_names(self._source.rpartition("/")[2], self._leftover))

    def _no_name(self) -> SourceRejected:
        message = f"no free name for {self._names()[0]} in {shown(self._target)}"
        return SourceRejected(message, code=ErrorCode.NAME_TAKEN)

    def _is_own(self, url: str) -> bool:
        """Whether only our own few bytes stand under a name."""
        return self._size(url) == len(self._own) and self._read(url) == self._own

    def _size(self, url: str) -> int | None:
        found = self._unless_gone(url, lambda driver: driver.system.info(driver.path))
        return None if found is None else int(found["size"])

    def _read(self, url: str) -> bytes | None:
        found = self._unless_gone(url, lambda driver: driver.system.cat_file(driver.path))
        return None if found is None else bytes(found)

    def _unlink(self, url: str) -> None:
        self._unless_gone(url, _remove_file)

    def _unless_gone(self, url: str, question: Callable[[Driver], Any]) -> Any:
        found, fault = _tried(lambda: self._do(url, question))
        if fault is not None and fault.code != ErrorCode.NOT_FOUND:
            raise fault
        return found

    def _do(self, url: str, question: Callable[[Driver], Any]) -> Any:
        return self._store.asked(url, question, "deleted or moved")


def _tried(work: Callable[[], T]) -> tuple[T | None, SourceRejected | None]:
    """What came of it, or why it can't be.

    Raises:
        SourceAway: the store is out of reach for the moment.
    """
    try:
        return work(), None
    except SourceAway:
        raise
    except SourceRejected as fault:
        return None, fault


def _digest(driver: Driver) -> str:
    digest = hashlib.sha256()
    with driver.system.open(driver.path, "rb", block_size=driver.block_size) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _remove_file(driver: Driver) -> None:
    driver.system.rm_file(driver.path)


def _write(driver: Driver, data: bytes) -> None:
    driver.system.pipe_file(driver.path, data)


async def _plain_rename(client: Any, source: str, target: str) -> None:
    async with client.start_sftp_client(path_errors="surrogateescape") as sftp:
        await sftp.rename(source, target)
