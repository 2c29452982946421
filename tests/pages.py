"""Pages of the documentation as what a reader does: files to write and commands to type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="(.+?)"')
_EXIT = re.compile(r"exit=(\d+)")
_SECTION = re.compile(r"^## (\d)", re.MULTILINE)


@frozen
class Block:
    """One fenced block: its language, what stands behind that, its text, its section."""

    language: str
    information: str
    text: str
    section: int

    @property
    def title(self) -> str | None:
        """The file that it is to be written to."""
        return next(iter(_TITLE.findall(self.information)), None)

    @property
    def code(self) -> int:
        """The exit code of its commands."""
        return int(next(iter(_EXIT.findall(self.information)), 0))

    def write(self, folder: Path) -> None:
        """Write the file that the block shows, or add it at the end of the one there is."""
        assert self.title is not None
        file = folder / self.title
        before = file.read_text("utf-8") + "\n\n" if "edit" in self.information else ""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(before + self.text, "utf-8")

    def commands(self) -> Iterator[tuple[str, str]]:
        """Each command of a console block, with a pattern for the output shown for it."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, _pattern(output)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order; a section is the number of its heading, 0 without one."""
    text = page.read_text("utf-8")
    return [
        Block(
            match[1], match[2], match[3], int((_SECTION.findall(text[: match.start()]) or [0])[-1])
        )
        for match in _BLOCK.finditer(text)
    ]


def _pattern(wanted: str) -> str:
    """A pattern for the output shown: `...` stands for anything."""
    lines = (re.escape(line).replace(r"\.\.\.", ".*") for line in wanted.strip().splitlines())
    return r"\s*".join(line.replace(r".*\ ", r".*\s*").replace(r"\ .*", r"\s*.*") for line in lines)
