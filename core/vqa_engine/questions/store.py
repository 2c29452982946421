"""Images that came inside a file, each written once, as its bytes are, under their SHA-256."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from attrs import field, frozen

from vqa_engine.errors import ConfigurationError, OutputError, QuestionSetError
from vqa_engine.files import at_home, replace, writing

DIGEST = 32
"""Bytes of a SHA-256."""


def cache() -> Path:
    """The engine's own cache: `VQA_ENGINE_CACHE`, by default `~/.cache/vqa-engine`.

    Raises:
        ConfigurationError: there is no home.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    found = at_home(os.environ.get("VQA_ENGINE_CACHE") or f"{base}/vqa-engine")
    if str(found).startswith("~"):
        raise ConfigurationError(
            f"There is no home folder for {found}: set VQA_ENGINE_CACHE to a folder for pictures."
        )
    return found.absolute()


@frozen
class ImageStore:
    """A folder of images; the name of each is its content's hash."""

    folder: Path = field(factory=lambda: cache() / "images")

    def put(self, data: bytes | memoryview) -> bytes:
        """Write an encoded image unless it is there, and give its digest.

        Raises:
            QuestionSetError: it cannot be written.
        """
        digest = hashlib.sha256(data).digest()
        path = self.path(digest)
        if not path.exists():
            self._write(path, data)
        return digest

    def path(self, digest: bytes) -> Path:
        """Where the image of this digest is. Its format is found by its content, not a suffix."""
        name = digest.hex()
        return self.folder / name[:2] / name

    def _write(self, path: Path, data: bytes | memoryview) -> None:
        try:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, [data])
        except OutputError as error:
            where = "VQA_ENGINE_CACHE names another folder for the images"
            raise QuestionSetError(f"{error} {where}") from error
