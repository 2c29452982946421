"""Large files from the hub into its cache, continued where an earlier try stopped.

huggingface_hub 2.4 gives every try a temporary file of its own (file_download.py,
`_download_to_tmp_and_move`), so what an interrupted one had fetched is lost. Here a file is
fetched under its content's name, then put where the hub's client looks for it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO
from urllib.parse import urlparse

from attrs import define, field, frozen

from vqa_engine.adapter import Transfer
from vqa_engine.errors import CheckpointError

LARGE = 8 * 2**20
"""Bytes from which a file is worth continuing; smaller ones are left to the hub's client."""

INTERVAL = 0.5
"""Seconds between two reports of how far it is."""

_SHA256 = 64
"""Hex digits; the hub names large files by this digest, small ones by git's."""

Report = Callable[[Transfer], None]


def silent(_transfer: Transfer) -> None:
    """For a caller who does not watch."""


def bring(
    name: str, commit: str, sizes: Mapping[str, int], report: Report, *, timeout: float
) -> None:
    """Fetch the large ones of a model's files, by name and bytes, that the cache lacks.

    `report` hears of all bytes, those of the small files included.

    Raises:
        CheckpointError: the disk has no room for them.
        Exception: what the hub's client raises.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE)
    missing = {
        file: size
        for file, size in sizes.items()
        if not isinstance(try_to_load_from_cache(name, file, revision=commit), str)
    }
    if not missing:
        return
    blobs = folder / repo_folder_name(repo_id=name, repo_type="model") / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    partial = sum(part.stat().st_size for part in blobs.glob("*.part"))
    free = shutil.disk_usage(blobs).free
    _check_room(name, folder, sum(missing.values()) - partial, free)
    count = _Count(name, folder, sum(missing.values()), free, report)
    count.report()
    for file, size in sorted(missing.items(), key=lambda one: one[1]):
        if size >= LARGE:
            _fetch(_Source(name, commit, file, timeout), blobs, count)
        else:
            count.add(size)
    count.report()


def _check_room(name: str, folder: Path, needed: int, free: int) -> None:
    if needed > free:
        raise CheckpointError(
            name,
            (),
            f"it needs {needed / 1e9:.2f} GB, and {folder} has {free / 1e9:.2f} GB left",
            "Make room, or set HF_HOME to a folder on another disk.",
        )


@define
class _Count:
    """Counts the bytes that are there, and reports now and then."""

    name: str
    folder: Path
    total: int
    free: int
    tell: Report
    done: int = 0
    _told: float = field(factory=monotonic)

    def add(self, size: int) -> None:
        """So many more; fewer, if what was there had to be thrown away."""
        self.done += size
        if monotonic() - self._told >= INTERVAL:
            self.report()

    def report(self) -> None:
        """Say how far it is."""
        self._told = monotonic()
        self.tell(
            Transfer(
                name=self.name,
                folder=str(self.folder),
                done=min(self.done, self.total),
                total=self.total,
                free=self.free,
            )
        )


@define
class _Counted:
    """A file opened for appending whose bytes are counted."""

    stream: BinaryIO
    count: _Count

    def write(self, data: bytes) -> int:
        """Append."""
        self.count.add(len(data))
        return self.stream.write(data)

    def tell(self) -> int:
        """Where the file ends."""
        return self.stream.tell()

    def seek(self, place: int) -> int:
        """Go back, before the rest is cut off."""
        return self.stream.seek(place)

    def truncate(self) -> int:
        """Throw the rest away: the server would not continue it."""
        end = self.stream.seek(0, 2)
        self.count.add(-end)
        return self.stream.truncate(0)


@frozen
class _Source:
    """A file of a model; the hub has `timeout` seconds to answer."""

    name: str
    commit: str
    file: str
    timeout: float


def _fetch(source: _Source, blobs: Path, count: _Count) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._fixes import WeakFileLock
    from huggingface_hub.utils._headers import build_hf_headers

    url = hf_hub_url(source.name, source.file, revision=source.commit)
    headers = build_hf_headers()
    known = get_hf_file_metadata(url, timeout=source.timeout, headers=headers)
    if known.etag is None or known.size is None:
        return  # it is left to the hub's client
    if urlparse(known.location).netloc != urlparse(url).netloc:
        headers.pop("authorization", None)  # the files lie with somebody else
    blob, part = blobs / known.etag, blobs / f"{known.etag}.part"
    with WeakFileLock(blobs / f"{known.etag}.part.lock"):
        if blob.exists():
            count.add(known.size)
            return
        had = part.stat().st_size if part.exists() else 0
        count.add(had)
        with part.open("ab") as stream:
            target: Any = _Counted(stream, count)
            http_get(
                known.location,
                target,
                resume_size=had,
                headers=headers,
                expected_size=known.size,
            )
        if had:
            _verify(source.name, part, known.etag)
        part.replace(blob)


def _verify(name: str, part: Path, digest: str) -> None:
    """See that a file that was put together of several tries is whole."""
    if len(digest) != _SHA256:
        return
    with part.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != digest:
        part.unlink()
        raise CheckpointError(
            name, ("the hub",), "a file that was continued came out wrong", "Run it again."
        )


def wanted(siblings: Iterable[Any], patterns: list[str]) -> dict[str, int]:
    """The files among a model's that fit the patterns, by name, with their bytes."""
    from huggingface_hub.utils._paths import filter_repo_objects

    sizes = {one.rfilename: int(one.size or 0) for one in siblings}
    return {file: sizes[file] for file in filter_repo_objects(sizes, allow_patterns=patterns)}
