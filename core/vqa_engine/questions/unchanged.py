"""Files that are read again while a run goes on have to be the ones that were checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

from attrs import field, frozen

from vqa_engine.errors import QuestionSetError
from vqa_engine.files import Stamp, open_regular


@frozen(eq=False)
class Unchanged:
    """What a file was when it was checked; written again with the same content is no change.

    Of one too large to be read twice, the content is not known (None), only when it was written.
    """

    path: Path
    _digest: str | None
    _stamps: set[Stamp] = field(repr=False)

    @classmethod
    def of(cls, path: Path, *, large: bool = False) -> Unchanged:
        """The file as it is now.

        Raises:
            QuestionSetError: it cannot be read.
        """
        try:
            return cls(path, None if large else _digest(path), {Stamp.of(path)})
        except OSError as error:
            raise QuestionSetError(f"it cannot be read: {error.strerror}", file=path) from error

    def check(self, file: int | Path) -> None:
        """See that a descriptor, or a path, is still the file that was checked.

        Raises:
            QuestionSetError: it is not.
        """
        try:
            stamp = Stamp.of(file)
            if stamp in self._stamps:
                return
            if self._digest is not None and _digest(self.path) == self._digest:
                self._stamps.add(stamp)
                return
        except OSError as error:
            raise self._changed() from error
        raise self._changed()

    def _changed(self) -> QuestionSetError:
        return QuestionSetError(
            "it was changed while it was in use, so the rest was not asked; bring the file back "
            "as it was, and the same command continues the run",
            file=self.path,
        )


def _digest(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, hashlib.blake2b).hexdigest()
