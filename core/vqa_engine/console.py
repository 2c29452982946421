"""Rich's console for text from outside: no markup in it, and no control character."""

from __future__ import annotations

from collections.abc import Iterable
from shutil import get_terminal_size
from typing import Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from vqa_engine.visible import visible


class PlainConsole(Console):
    """A console to which strings are text, also in the cells and titles of tables.

    A string is made visible before it is laid out. A `Text`, which is laid out already, is made
    so as it is written.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)
        if self.is_dumb_terminal and "width" not in options:
            self.size = ConsoleDimensions(*get_terminal_size())  # rich takes it for 80 columns wide

    def on_broken_pipe(self) -> None:
        """Leave it to the command what is done when the reader left; rich would exit with 1."""
        raise BrokenPipeError

    def render_str(self, text: str, **options: Any) -> Text:
        """The string as text."""
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """What is written, piece by piece; rich's own controls have no text."""
        for piece in super().render(renderable, options):
            shown = piece.text if piece.control else visible(piece.text)
            yield piece if shown == piece.text else Segment(shown, piece.style, piece.control)
