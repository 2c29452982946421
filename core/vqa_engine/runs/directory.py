"""A run directory: lock, manifest and journal, opened together or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self

import msgspec

from vqa_engine.errors import JournalError, OutputError, RunError, RunLocked, RunMismatch
from vqa_engine.files import read_regular, replace, unwritable
from vqa_engine.results import Loaded
from vqa_engine.runs import journal, manifest
from vqa_engine.runs.database import READING, WRITING, Use
from vqa_engine.runs.journal import Journal
from vqa_engine.runs.manifest import Manifest
from vqa_engine.runs.salvage import SalvagedJournal

_LOCK, _LOGS = "lock", "logs"

_OWN = (_LOCK, manifest.FILE, *(f"{journal.FILE}{end}" for end in ("", "-wal", "-shm", "-journal")))
"""What a run writes beside the logs of its workers."""

_LARGEST_LOCK, _LARGEST_MANIFEST = 32, 64 << 20
"""Bytes."""


class RunDirectory:
    """One run on disk, held by this process alone until `close`.

    A run goes on with another adapter, and with more questions where `extends` says that the
    run's (count, digest) are the first of those. With `accept_changes` it also goes on with
    new versions of code, which are recorded.

    Raises:
        RunLocked: another process holds it.
        RunMismatch: it was started with other settings.
        RunError: it cannot be made, or is no run.
        JournalError: its journal cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        wanted: Manifest,
        *,
        extends: Callable[[int, str], bool] = lambda _count, _digest: False,
        accept_changes: bool = False,
    ) -> None:
        self.path = path = path.absolute()  # an adapter inline may change the current folder
        self._lock = _locked(path)
        try:
            _check_own(path)
            self._manifest = _agree(path, wanted, extends, accept_changes)
            self.journal = Journal(path / journal.FILE)
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def logs(self) -> Path:
        """Where workers' output goes."""
        return self.path / _LOGS

    def loaded(self, label: str, loaded: Loaded) -> None:
        """Note what is known of an adapter once it is loaded; nothing where it is noted already.

        Raises:
            RunError: the manifest cannot be written.
        """
        self._manifest = _update(
            self.path, self._manifest, manifest.with_bound(self._manifest, label, loaded)
        )

    def close(self) -> None:
        """Close the journal, note what was downloaded, unlock the directory; twice is safe."""
        self.journal.close()
        if self._lock < 0:
            return
        try:
            _update(self.path, self._manifest, manifest.with_commits(self._manifest))
        finally:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def open_journal(path: Path, *, salvage: bool = False) -> Journal:
    """The journal of an existing run, opened read-only; nothing in the folder changes.

    With `salvage`, rows that cannot be read are left out.

    Raises:
        RunError: the directory holds no run.
        JournalError: its journal cannot be read.
    """
    file = path / journal.FILE
    if not file.is_file():
        raise RunError(path, f"{path} is not a run directory: it has no {journal.FILE}.")
    return SalvagedJournal(file) if salvage else Journal(file, use=READING)


def read_manifest(path: Path, use: Use = READING) -> Manifest:
    """The manifest of a run.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    file = path / manifest.FILE
    if not file.exists():
        raise RunError(path, f"There is no run in {path}; vqa-engine runs lists all runs.")
    try:
        return manifest.decode(read_regular(file, _LARGEST_MANIFEST))
    except (OSError, UnicodeError, RecursionError, msgspec.MsgspecError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        what = f"{file} cannot be read as the manifest of a run: {reason}. {use.damaged}"
        raise RunError(path, what) from error


def fresh(path: Path) -> Path:
    """The first free name beside `path`: `path`, `path-2`, `path-3`, …"""
    names = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in range(1, 10_000))
    return next(name for name in names if not name.exists())


def is_empty(path: Path) -> bool:
    """Whether nothing but the files of a run without any row is there.

    Raises:
        JournalError: its journal cannot be read.
    """
    if any(entry.name not in (*_OWN, _LOGS) for entry in path.iterdir()):
        return False
    return not _has_rows(path)


def remove(path: Path) -> bool:
    """Delete a run that is empty and that nobody works on; whether it was.

    Raises:
        RunError, JournalError: it cannot be read or deleted.
    """
    try:
        lock = _locked(path)
    except RunLocked:
        return False
    try:
        if not is_empty(path):
            return False
        shutil.rmtree(path)
    except OSError as error:
        raise RunError(path, f"{path} cannot be deleted: {error}.") from error
    finally:
        os.close(lock)
    return True


def _locked(path: Path) -> int:
    """Make the directory and take its lock; the file descriptor holds it.

    The kernel drops the lock with the process, so a crash leaves nothing to clean.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        lock = os.open(path / _LOCK, flags, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _foreign(path, path / _LOCK) from error
        raise RunError(path, unwritable(f"The run directory {path}", error)) from error
    try:
        _hold(path, lock)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _hold(path: Path, lock: int) -> None:
    found = os.fstat(lock)
    if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_LOCK:
        raise _foreign(path, path / _LOCK)  # a hard link to another file may be one
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(lock, _LARGEST_LOCK, 0).decode("ascii", "replace").strip()
        raise RunLocked(path, int(owner) if owner.isdecimal() else None) from error
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except OSError as error:
        raise RunError(path, unwritable(f"The run directory {path}", error)) from error


def _check_own(path: Path) -> None:
    """See that what is written to lies in the directory: one that was received may hold links.

    Raises:
        RunError: a file of the run is a link, a pipe or a device.
    """
    logs = path / _LOGS
    for file in (path / name for name in _OWN):
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise _foreign(path, file)
    if logs.is_symlink() or (logs.exists() and not logs.is_dir()):
        raise _foreign(path, logs)
    for folder, folders, files in os.walk(logs):  # each place has a folder of its own
        for file in (Path(folder, name) for name in (*folders, *files)):
            if file.is_symlink() or not (file.is_file() or file.is_dir()):
                raise _foreign(path, file)


def _foreign(path: Path, file: Path) -> RunError:
    what = f"{file} is not a file that vqa-engine made, so the run in {path} is not continued"
    return RunError(path, f"{what}. Use --fresh, or give another --output.")


def matching(folder: Path, wanted: Manifest) -> Path | None:
    """The run in `folder` with the same adapters and settings, the newest if there are several."""
    files = sorted(folder.glob(f"*/{manifest.FILE}"), key=lambda file: -file.stat().st_mtime)
    for run in (file.parent for file in files):
        try:
            old = read_manifest(run)
        except RunError:  # of another version, or damaged: it is no run of this command
            continue
        if old.adapters.keys() == wanted.adapters.keys() and not manifest.differences(old, wanted):
            return run
    return None


def _agree(
    path: Path, wanted: Manifest, extends: Callable[[int, str], bool], accept_changes: bool
) -> Manifest:
    """Write the manifest of a new run, or compare it with that of an old one; the one there."""
    file = path / manifest.FILE
    if not os.path.lexists(file):
        if (path / journal.FILE).exists():
            raise JournalError(path, f"{path} has a journal, but no manifest. Use --fresh.")
        _write(file, wanted.encode())
        return wanted
    old = read_manifest(path, WRITING)
    found = manifest.differences(old, wanted)
    if "question_digest" in found and extends(old.question_count, old.question_digest):
        found = {name: pair for name, pair in found.items() if not name.startswith("question_")}
    acceptable = all(map(manifest.is_version, found))
    if found and not (accept_changes and acceptable):
        if not _has_rows(path):  # such as after a mistyped option: there is nothing to mix up
            _write(file, wanted.encode())
            return wanted
        raise RunMismatch(path, found, acceptable=acceptable)
    now = manifest.grown(old, wanted, found)
    if now != old:
        _write(file, now.encode())
    return now


def _has_rows(path: Path) -> bool:
    if not (path / journal.FILE).exists():
        return False
    with closing(open_journal(path)) as opened:
        return next(opened.rows(), None) is not None


def _update(path: Path, known: Manifest, now: Manifest) -> Manifest:
    """Write the manifest if more is known now."""
    if now != known:
        _write(path / manifest.FILE, now.encode())
    return now


def _write(file: Path, data: bytes) -> None:
    """Write all or nothing: a torn manifest would lock its run for ever."""
    try:
        replace(file, [data], durable=True)
    except OutputError as error:
        raise RunError(file.parent, str(error)) from error
