"""Data sets on the model hub: from the local cache, else downloaded.

A download resumes where one was interrupted, and shows its progress on a terminal. What is
complete is used without asking the hub again; a small file in the engine's cache, a note, says
what a complete download holds, for the hub's own cache does not know. Before a download it may
say what the hub would send.
"""

from __future__ import annotations

import hashlib
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from msgspec import Struct

from vqa_engine.errors import ConfigurationError, OutputError, QuestionSetError
from vqa_engine.files import replace, surroundings
from vqa_engine.questions.store import cache

TIMEOUT = 10.0
"""Seconds the hub may take to answer; huggingface_hub sets no bound on that first call."""


_PART = re.compile(r"-[0-9]{5}-of-([0-9]{5})")


class _Note(Struct, frozen=True):
    """The commit of a data set, the size of each file in bytes, and, downloaded, their folder."""

    commit: str
    files: dict[str, int]
    folder: str | None = None

    @property
    def whole(self) -> bool:
        """Whether every file is here."""
        if self.folder is None or not self.files:
            return False
        home = Path(self.folder)
        return all(_size(home / file) == size for file, size in self.files.items())


def folder(
    name: str,
    also: Sequence[str],
    revision: str | None,
    patterns: Sequence[str],
    *,
    offline: bool = False,
) -> Path:
    """The folder with a data set's files; `also` are other ids of the same content.

    Raises:
        ConfigurationError: huggingface_hub is not installed.
        QuestionSetError: the files are not here and cannot be downloaded.
        OutputError: they cannot be stored.
    """
    found = cached(name, revision, patterns)
    if found is not None:
        return found
    _needs_client()
    problems = []
    for one in () if offline else (name, *also):
        try:
            return _downloaded(name, one, revision, patterns)
        except OutputError:
            raise
        except Exception as error:  # the HTTP library's types differ by version
            if isinstance(error, OSError) and (full := surroundings(error)):
                raise full from error
            problems.append(f"{one}: {_why(error)}")
    for one in (name, *also):
        copied = _copied(one, revision, patterns)
        if copied is not None:
            return _noted(name, revision, patterns, copied)
    raise QuestionSetError(_absent(name, revision, patterns, problems), file=None)


def cached(name: str, revision: str | None, patterns: Sequence[str]) -> Path | None:
    """The folder of a complete download, None if there is none."""
    found = _found(name, revision, patterns)
    return Path(found.folder) if found is not None and found.folder is not None else None


def commit(name: str, revision: str | None, patterns: Sequence[str]) -> str | None:
    """The commit of a complete download, None if there is none."""
    found = _found(name, revision, patterns)
    return None if found is None else found.commit


def size(name: str, revision: str | None, patterns: Sequence[str]) -> int | None:
    """Bytes of a download that is complete, or that the hub was asked for; else None."""
    note = _found(name, revision, patterns) or _read(_path(name, revision, patterns))
    return None if note is None else sum(note.files.values())


def ask_size(
    name: str, also: Sequence[str], revision: str | None, patterns: Sequence[str]
) -> int | None:
    """Ask the hub for the bytes of a download, and remember them; None if it has no such file.

    Raises:
        ConfigurationError: huggingface_hub is not installed.
        QuestionSetError: the hub cannot be asked.
    """
    _needs_client()
    from huggingface_hub import HfApi

    problems = []
    for one in (name, *also):
        try:
            info = HfApi().dataset_info(
                one, revision=revision, files_metadata=True, timeout=TIMEOUT
            )
        except Exception as error:  # noqa: BLE001  the HTTP library's types differ by version
            problems.append(f"{one}: {_why(error)}")
            continue
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        wanted = {
            file: count
            for file, count in sizes.items()
            if any(fnmatchcase(file, pattern) for pattern in patterns)
        }
        if wanted:
            _write(_path(name, revision, patterns), _Note(info.sha or "", wanted))
        return sum(wanted.values()) or None
    raise QuestionSetError("; ".join(problems), file=None)


def _found(name: str, revision: str | None, patterns: Sequence[str]) -> _Note | None:
    """A complete download of the revision; also one of the newest that turned out to be it."""
    own, newest = (_read(_path(name, one, patterns)) for one in (revision, None))
    if own is not None and own.whole:
        return own
    return newest if newest is not None and newest.whole and newest.commit == revision else None


def _read(path: Path) -> _Note | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Note)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, note: _Note) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, [msgspec.json.encode(note)])


def _downloaded(name: str, one: str, revision: str | None, patterns: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    info = HfApi().dataset_info(one, revision=revision, timeout=TIMEOUT)
    with _bars_on_terminals_only(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Not enough free disk space")  # an error says so
        home = Path(
            snapshot_download(
                one,
                repo_type="dataset",
                revision=info.sha,
                allow_patterns=list(patterns),
                etag_timeout=TIMEOUT,
            )
        )
    return _noted(name, revision, patterns, home)


def _absent(
    name: str, revision: str | None, patterns: Sequence[str], problems: Sequence[str]
) -> str:
    """That a data set is not here, why it cannot be downloaded if that was tried, and a remedy."""
    if not problems:
        return f"the data set {name} is not downloaded yet"
    commit = f" --revision {revision}" if revision else ""
    wanted = "".join(f" --include '{pattern}'" for pattern in patterns)
    return (
        f"the data set cannot be downloaded ({'; '.join(problems)}). Check the network, or run "
        f"`hf download {name} --repo-type dataset{commit}{wanted}` on a machine that has one and "
        "copy its cache here"
    )


def _copied(one: str, revision: str | None, patterns: Sequence[str]) -> Path | None:
    """The folder of files that are in the hub's cache without our note, if none is missing.

    The cache knows what is complete only if its listing is there, too; else the names of a
    split's files, `x-00000-of-00003`, say how many there are.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        home = Path(
            snapshot_download(
                one,
                repo_type="dataset",
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None
    parts: dict[str, int] = defaultdict(int)
    for pattern in patterns:
        files = [path for path in home.glob(pattern) if path.exists()]
        if not files:
            return None
        for path in files:
            if match := _PART.search(path.name):
                parts[f"{path.parent}/{path.name[: match.start()]}-of-{match[1]}"] += 1
    return home if all(int(key[-5:]) == count for key, count in parts.items()) else None


def _noted(name: str, revision: str | None, patterns: Sequence[str], home: Path) -> Path:
    """Note the files of a complete download, whose folder is named after the commit."""
    files = [path for pattern in patterns for path in home.glob(pattern)]
    sizes = {path.relative_to(home).as_posix(): path.stat().st_size for path in files}
    _write(_path(name, revision, patterns), _Note(home.name, sizes, str(home)))
    return home


def _path(name: str, revision: str | None, patterns: Sequence[str]) -> Path:
    key = hashlib.sha256(repr((name, revision, tuple(patterns))).encode()).hexdigest()[:16]
    return cache() / "datasets" / f"{name.replace('/', '--')}-{key}.json"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _needs_client() -> None:
    try:
        import huggingface_hub  # noqa: F401
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Tasks from the hub need {error.name}: pip install 'vqa-engine[hub]'."
        ) from error


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    """Keep progress bars out of log files, unless the user's environment asks for them."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    if sys.stderr.isatty() or constants.HF_HUB_DISABLE_PROGRESS_BARS is not None:
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _why(error: Exception) -> str:
    """The reason for a failure of the hub's client, in plain words."""
    from huggingface_hub import errors

    known: tuple[tuple[type[Exception], str], ...] = (
        (errors.GatedRepoError, "its terms have to be accepted on its page, then hf auth login"),
        (
            errors.RevisionNotFoundError,
            "the hub no longer has the card's revision; run a copy of the card with another",
        ),
        (errors.RepositoryNotFoundError, "the hub has no such data set, or it is private"),
        (errors.OfflineModeIsEnabled, "downloads are switched off (HF_HUB_OFFLINE)"),
    )
    for kind, reason in known:
        if isinstance(error, kind):
            return reason
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the hub answered with HTTP status {status}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"the hub cannot be reached ({type(error).__name__})"
