"""A run directory: lock, manifest and journal, opened together or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from vqa_engine.errors import JournalError, RunError, RunLocked, RunMismatch
from vqa_engine.results import Loaded
from vqa_engine.runs import journal, manifest
from vqa_engine.runs.journal import Journal
from vqa_engine.runs.manifest import Manifest

_LOCK = "lock"
_LOGS = "logs"
_OURS = {_LOCK, _LOGS, manifest.FILE, *(f"{journal.FILE}{end}" for end in ("", "-wal", "-shm"))}


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
        self.path = path
        self._lock = _locked(path)
        try:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_journal(path: Path) -> Journal:
    """The journal of an existing run, opened read-only; nothing in the folder changes.

    Raises:
        RunError: the directory holds no run.
        JournalError: its journal cannot be read.
    """
    file = path / journal.FILE
    if not file.is_file():
        raise RunError(path, f"{path} is not a run directory: it has no {journal.FILE}.")
    return Journal(file, read_only=True)


def read_manifest(path: Path) -> Manifest:
    """The manifest of a run.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    file = path / manifest.FILE
    try:
        return manifest.decode(file.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        what = f"{file} cannot be read as the manifest of a run: {error}. Give another --output."
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
    if any(entry.name not in _OURS for entry in path.iterdir()):
        return False
    with closing(open_journal(path)) as opened:
        return next(opened.rows(), None) is None


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
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        what = f"The run directory {path} cannot be written: {error}. Give another --output."
        raise RunError(path, what) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise RunLocked(path, int(owner) if owner.isdigit() else None) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


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
    if not file.exists():
        if (path / journal.FILE).exists():
            raise JournalError(path, f"{path} has a journal, but no manifest. Use --fresh.")
        _write(file, wanted.encode())
        return wanted
    old = read_manifest(path)
    found = manifest.differences(old, wanted)
    if "question_digest" in found and extends(old.question_count, old.question_digest):
        found = {name: pair for name, pair in found.items() if not name.startswith("question_")}
    acceptable = all(map(manifest.is_version, found))
    if found and not (accept_changes and acceptable):
        raise RunMismatch(path, found, acceptable=acceptable)
    now = manifest.grown(old, wanted, found)
    if now != old:
        _write(file, now.encode())
    return now


def _update(path: Path, known: Manifest, now: Manifest) -> Manifest:
    """Write the manifest if more is known now."""
    if now != known:
        _write(path / manifest.FILE, now.encode())
    return now


def _write(file: Path, data: bytes) -> None:
    """Write all or nothing: a torn manifest would lock its run for ever."""
    part = file.with_suffix(".part")
    try:
        with part.open("wb") as stream:
            stream.write(data)
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        raise RunError(file.parent, f"{file} cannot be written: {error}.") from error
