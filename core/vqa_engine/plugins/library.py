"""The library that a memory backend is for, as far as it is known without importing it."""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import Any, Literal, get_args

from attrs import field, frozen

from vqa_engine.errors import BackendError

TextCause = Literal["too_big", "handle_limit", "watchdog", "out_of_memory", "backend"]
"""What an error text can mean, the most specific first.

`too_big` is one buffer beyond what the device allows, `handle_limit` too many buffers,
`watchdog` a step that took too long, `backend` a device that is of no more use to this process.
"""


def _readable(_instance: object, _attribute: object, texts: tuple[tuple[str, str], ...]) -> None:
    for cause, pattern in texts:
        if cause not in get_args(TextCause):
            raise ValueError(f"{cause!r} is not one of {', '.join(get_args(TextCause))}")
        re.compile(pattern)


@frozen(kw_only=True)
class Library:
    """What is known of a backend's library without importing it.

    `module` is the module that the backend imports, empty for none, and `requirement` what
    pip installs for it. `distributions` are the packages whose versions decide what a model
    says, `heavy` the top-level modules that importing a plugin must not import.

    `failures` are (cause, regular expression) pairs, the most specific first. They are
    searched in the text of an exception, and in what a dead worker printed.
    """

    module: str = ""
    requirement: str = ""
    distributions: tuple[str, ...] = ()
    heavy: tuple[str, ...] = ()
    failures: tuple[tuple[TextCause, str], ...] = field(default=(), validator=_readable)

    @property
    def is_installed(self) -> bool:
        """Whether the library can be found; nothing is imported."""
        return not self.module or bool(importlib.util.find_spec(self.module.partition(".")[0]))

    @property
    def remedy(self) -> str:
        """How to install it."""
        return f"Install it: pip install '{self.requirement}'"

    def load(self) -> Any:
        """Import the library; only the process of the model may do that.

        Raises:
            BackendError: it is not installed, or its import failed.
        """
        try:
            return importlib.import_module(self.module)
        except ImportError as error:
            raise BackendError(f"import {self.module}", str(error), self.remedy) from error
