"""Data sets on the model hub: from the local cache, else downloaded.

A download resumes where one was interrupted, and shows its progress on a terminal. What is
complete is used without asking the hub again; a small file in the engine's cache says what
a complete download holds, for the hub's own cache does not know.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from vqa_engine.errors import ConfigurationError, OutputError, QuestionSetError
from vqa_engine.files import replace, surroundings
from vqa_engine.questions.store import cache

TIMEOUT = 10.0
"""Seconds the hub may take to answer; huggingface_hub sets no bound on that first call."""


class _Complete(Struct, frozen=True):
    """A download that is complete: its folder, commit, and the size of each file in bytes."""

    folder: str
    commit: str
    files: dict[str, int]


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
    if offline:
        raise QuestionSetError(f"the data set {name} is not downloaded yet", file=None)
    _needs_client()
    problems = []
    for one in (name, *also):
        try:
            return _downloaded(name, one, revision, patterns)
        except OutputError:
            raise
        except Exception as error:  # the HTTP library's types differ by version
            if isinstance(error, OSError) and (full := surroundings(error)):
                raise full from error
            problems.append(f"{one}: {_why(error)}")
    raise QuestionSetError(
        f"the data set cannot be downloaded ({'; '.join(problems)}). Check the network, or "
        f"run `hf download {name} --repo-type dataset` on a machine that has one and copy its "
        "cache here",
        file=None,
    )


def cached(name: str, revision: str | None, patterns: Sequence[str]) -> Path | None:
    """The folder of a complete download, None if there is none."""
    found = _found(name, revision, patterns)
    return None if found is None else Path(found.folder)


def commit(name: str, revision: str | None, patterns: Sequence[str]) -> str | None:
    """The commit of a complete download, None if there is none."""
    found = _found(name, revision, patterns)
    return None if found is None else found.commit


def _found(name: str, revision: str | None, patterns: Sequence[str]) -> _Complete | None:
    """A complete download of the revision; also one of the newest that turned out to be it."""
    own, newest = (_read(_note(name, one, patterns)) for one in (revision, None))
    if own is not None or newest is None:
        return own
    return newest if newest.commit == revision else None


def _read(note: Path) -> _Complete | None:
    """What the note says, if every file of it is still there."""
    try:
        complete = msgspec.json.decode(note.read_bytes(), type=_Complete)
    except (OSError, msgspec.MsgspecError):
        return None
    home = Path(complete.folder)
    whole = all(_size(home / file) == size for file, size in complete.files.items())
    return complete if whole and complete.files else None


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
    files = [path for pattern in patterns for path in home.glob(pattern)]
    sizes = {path.relative_to(home).as_posix(): path.stat().st_size for path in files}
    note = _note(name, revision, patterns)
    note.parent.mkdir(parents=True, exist_ok=True)
    replace(note, [msgspec.json.encode(_Complete(str(home), info.sha or "", sizes))])
    return home


def _note(name: str, revision: str | None, patterns: Sequence[str]) -> Path:
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
