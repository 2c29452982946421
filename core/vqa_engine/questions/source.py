"""What a question set is made from: a name with options, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from vqa_engine.errors import ConfigurationError


@frozen(kw_only=True)
class Source:
    """What the caller asked for.

    `text` is all of it, for messages. A set with a name of its own gets its `options`,
    what follows the colon in `shapes:seed=3,count=500`. A format gets the `path` of
    a file that exists. `annotations` and `images` are what the caller gave beside it; a
    format's `images` is an absolute folder, by default the file's. `columns` says which
    column is which part of a question, where the caller named any.
    """

    text: str
    options: str = ""
    path: Path | None = None
    annotations: Path | None = None
    images: Path | None = None
    columns: Mapping[str, str] = field(factory=dict)

    @property
    def file(self) -> Path:
        """The path, for a format that needs one.

        Raises:
            ConfigurationError: this is no file.
        """
        if self.path is None:
            raise ConfigurationError(f"{self.text!r} is not a file; give the path of one.")
        return self.path

    @property
    def folder(self) -> Path:
        """The folder that image paths start from and must not leave."""
        return self.images if self.images is not None else self.file.absolute().parent

    def pairs(self) -> dict[str, str]:
        """The options as names and values; one without `=` has an empty value."""
        parts = (part.partition("=") for part in self.options.split(",") if part)
        return {name.strip(): value.strip() for name, _, value in parts}

    def refuse(self, form: str, **given: object) -> None:
        """Refuse what does not go with a form.

        Raises:
            ConfigurationError: naming the first that was given.
        """
        for option, value in given.items():
            if value:
                raise ConfigurationError(f"--{option} does not go with {form}; leave it out.")
