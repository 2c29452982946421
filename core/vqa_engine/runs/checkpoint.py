"""Which files a model's name means: the commit of a hub id, the digest of a local folder.

Neither imports a hub client nor reads weights as a whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vqa_engine.files import at_home, hub_cache

WHOLE = 32 << 20
"""Bytes up to which a file is hashed as a whole: configurations, tokenizers, code."""

_SAMPLES, _SAMPLE = 64, 4096
"""Of a larger file, this many blocks of this many bytes count beside its header and size."""

_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of safetensors' reference implementation."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_commit(model: str, revision: str | None = None) -> str | None:
    """The commit that the local hub cache has for a hub id, None where it has none.

    A cache keeps the commit of each branch and tag in a file below `refs`
    (huggingface_hub, "Understand caching").
    """
    folder = hub_cache() / f"models--{model.replace('/', '--')}"
    wanted = revision or "main"
    try:
        if (folder / "snapshots" / wanted).is_dir():
            found = wanted
        else:
            found = (folder / "refs" / wanted).read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return found if _COMMIT.fullmatch(found) else None


def folder_digest(model: str) -> str | None:
    """SHA-256 (hex) over a local model folder, None if it is not one that can be read.

    Over the name and size of each file that is not hidden, and over the contents of those
    up to `WHOLE`. Of larger ones, the weights, count the safetensors header (names, types
    and shapes of all tensors) and samples spread evenly over the file, so that other weights
    of equal shapes are noticed, unless they differ in a few places only.
    """
    try:
        folder = at_home(model)
        return _digest(folder) if folder.is_dir() else None
    except (OSError, ValueError, RuntimeError):
        return None  # its worker says what is wrong with it


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(_files(folder)):
        size = file.stat().st_size
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        with file.open("rb") as stream:
            for part in (stream.read(),) if size <= WHOLE else _samples(stream, size):
                digest.update(part)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for file in folder.rglob("*"):
        name = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix(), file


def _samples(stream: BinaryIO, size: int) -> Iterator[bytes]:
    header = int.from_bytes(stream.read(8), "little")
    yield stream.read(header if header <= min(size, _LONGEST_HEADER) else _SAMPLE)
    for number in range(_SAMPLES):
        stream.seek((size - _SAMPLE) * number // (_SAMPLES - 1))
        yield stream.read(_SAMPLE)
