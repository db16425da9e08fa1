"""Delete or move an ingested file, without ever losing another one.

A move goes through a second name in the target folder that carries the file's id: as long as it is
there, the move has begun, and whoever finds it knows whether the file was published already. So a
move that was cut short at any point is completed by the next attempt, and never made twice.

Folders for what is done often lie on another file system (an archive, a share), where a rename
fails. `shutil.move` would copy without a check and overwrite what is there, so the copy is made
here: verified against the digest that was uploaded, synced, and published like any other.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath

from worker.adapters.files.local_files import path_of
from worker.adapters.files.remote_files import is_url
from worker.codes import ErrorCode
from worker.core.model.fleet import Leftover
from worker.core.schedule import MOVE
from worker.errors import ServiceFault, SourceRejected

_CHUNK = 1 << 20
_NO_HARD_LINKS = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}
_PASSING = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ESTALE,
    errno.EBUSY,
    errno.ETIMEDOUT,
    errno.ENFILE,
    errno.EMFILE,
}

Identity = tuple[int, int, int, int]
"""Device, inode, size and time of change: what tells one state of one file from any other."""


class LocalTakeAway:
    """Carries out the `after` rules on files of this machine, inside the given roots only."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = tuple(path_of(root).resolve() for root in roots if not is_url(root))

    def take_away(self, leftover: Leftover) -> None:
        """Delete or move one file; that it is gone already is no error. Blocking.

        Raises:
            SourceRejected: it can't be done: outside the roots, changed since it was uploaded,
                not a plain file, or no permission.
            TryLater: something that may pass, such as a full disk.
        """
        path = self._inside_roots(leftover.source)
        try:
            if leftover.rule.startswith(MOVE):
                _move(path, Path(leftover.rule.removeprefix(MOVE)), leftover)
            elif _is_there(path):
                with _held(path, leftover) as uploaded:
                    _remove(path, uploaded)
        except FileNotFoundError as error:
            if _is_there(path):
                raise ServiceFault(
                    f"gone meanwhile: {error.filename}", code=ErrorCode.IO_ERROR
                ) from error
        except OSError as error:
            words = f"{error.strerror}: {error.filename}"
            if error.errno in _PASSING:
                raise ServiceFault(words, code=ErrorCode.IO_ERROR) from error
            raise SourceRejected(words, code=ErrorCode.TAKE_AWAY_FAILED) from error

    def _inside_roots(self, source: str) -> Path:
        """The file's path with every link of its folders resolved, but not its own name."""
        plain = path_of(source)
        path = plain.parent.resolve() / plain.name
        if not any(path.is_relative_to(root) for root in self._roots):
            raise SourceRejected(f"outside the roots: {source}", code=ErrorCode.OUTSIDE_ROOTS)
        return path


def _move(path: Path, folder: Path, leftover: Leftover) -> None:
    staged = folder / f".{leftover.file}.moving"
    if _is_there(path):
        folder.mkdir(parents=True, exist_ok=True)
        if folder.samefile(path.parent):
            return
        with _held(path, leftover) as uploaded:
            _stage(path, uploaded, staged, leftover)
            _publish(staged, path.name, leftover)
            _remove(path, uploaded)
    staged.unlink(missing_ok=True)


def _remove(path: Path, uploaded: Identity) -> None:
    """Delete the file unless something else has come under its name meanwhile."""
    if _identity(path.lstat()) != uploaded:
        raise _changed(path)
    path.unlink(missing_ok=True)


def _stage(path: Path, uploaded: Identity, staged: Path, leftover: Leftover) -> None:
    """Give the file its second name; across file systems, give that name to a verified copy."""
    if _is_there(staged):
        if _digest(staged) == leftover.sha256:
            return
        staged.unlink()  # a copy that was cut short
    try:
        os.link(path, staged, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _copy(path, staged, leftover)
    else:
        if _identity(staged.lstat()) != uploaded:
            staged.unlink()
            raise _changed(path)


def _copy(path: Path, staged: Path, leftover: Leftover) -> None:
    with _open_plain(path) as source, staged.open("xb") as target:
        digest = hashlib.sha256()
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
        status = os.fstat(source.fileno())
    os.utime(staged, ns=(status.st_atime_ns, status.st_mtime_ns))
    if digest.hexdigest() != leftover.sha256:
        staged.unlink()
        raise _changed(path)


def _publish(staged: Path, name: str, leftover: Leftover) -> None:
    """Show the file under its own name, or the first variant of it that is free."""
    for candidate in _candidates(staged.parent / name, leftover):
        if _is_there(candidate) and candidate.samefile(staged):
            return  # published by an attempt that was cut short
    for candidate in _candidates(staged.parent / name, leftover):
        try:
            _claim(staged, candidate)
        except FileExistsError:
            continue
        return
    raise SourceRejected(f"no free name for {name} in {staged.parent}", code=ErrorCode.NAME_TAKEN)


def _candidates(target: Path, leftover: Leftover) -> Iterator[Path]:
    yield from (target.with_name(name) for name in free_names(target.name, leftover))


def free_names(name: str, leftover: Leftover) -> Iterator[str]:
    """Names that a moved file may get, in order."""
    own = PurePosixPath(name)
    yield name
    yield f"{own.stem}-{str(leftover.file)[:8]}{own.suffix}"
    yield f"{own.stem}-{leftover.file}{own.suffix}"


def _claim(staged: Path, target: Path) -> None:
    """Take a name that nobody has: linking never overwrites.

    Where there are no hard links the name is reserved by an empty file first.
    """
    try:
        os.link(staged, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        staged.replace(target)


@contextmanager
def _held(path: Path, leftover: Leftover) -> Iterator[Identity]:
    """Lock the file against other workers; it is the one that was uploaded, and known by this."""
    with _open_plain(path) as file:
        _lock(file)
        status = os.fstat(file.fileno())
        if status.st_size != leftover.size or _digest_of(file) != leftover.sha256:
            raise _changed(path)
        if _identity(path.lstat()) != _identity(status):
            raise _changed(path)
        yield _identity(status)


def _lock(file: BufferedReader) -> None:
    """Keep other workers off, where the file system can; elsewhere the schedules' lead does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ServiceFault(
            "another worker has the file in hand", code=ErrorCode.IO_ERROR
        ) from error
    except OSError:
        return


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _open_plain(path: Path) -> BufferedReader:
    """Open a regular file; a link or a pipe under its name was never ingested as such."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise SourceRejected(f"not a plain file: {path}", code=ErrorCode.NOT_A_FILE)
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _digest(path: Path) -> str:
    with _open_plain(path) as file:
        return _digest_of(file)


def _digest_of(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _changed(path: Path) -> SourceRejected:
    return SourceRejected(f"changed since it was uploaded: {path}", code=ErrorCode.CHANGED)
