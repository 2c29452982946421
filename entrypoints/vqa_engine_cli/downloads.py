"""What is shown while a checkpoint is downloaded: a bar on a terminal, else a line per tenth."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.progress import TimeRemainingColumn as Remaining

from vqa_engine.adapter import Transfer

_TENTHS = 10


class Downloads:
    """Shows one download after the other, each from its first report to its last byte."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._name = self._whole = ""
        self._tenth = -1
        self._bar: Progress | None = None
        self._task: Any = None

    def show(self, label: str, transfer: Transfer) -> None:
        """How far a download is; the first time also what it is and where it goes."""
        whole = transfer.done >= transfer.total
        if whole and transfer.name == self._whole:
            return  # the end is reported by the last byte, and once more by the last file
        if transfer.name != self._name:
            self._begin(label, transfer)
        tenth = transfer.done * _TENTHS // max(transfer.total, 1)
        if self._bar is not None:
            self._bar.update(self._task, completed=transfer.done)
        elif tenth > self._tenth:
            self._say(f"{label}: {tenth * _TENTHS} % of {_gigabytes(transfer.total)}")
        self._tenth = max(tenth, self._tenth)
        if whole:
            self._whole = transfer.name
            self.close()

    def close(self) -> None:
        """Take the bar away, if there is one."""
        self._name, self._tenth = "", -1
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _begin(self, label: str, transfer: Transfer) -> None:
        self.close()
        self._name = transfer.name
        self._say(
            f"{label}: first use: downloading {transfer.name}, {_gigabytes(transfer.total)}, "
            f"to {transfer.folder} ({_gigabytes(transfer.free)} free)"
        )
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                DownloadColumn(),
                TransferSpeedColumn(),
                Remaining(),
                console=self._console,
            )
            self._task = self._bar.add_task(label, total=transfer.total)
            self._bar.start()

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)


def _gigabytes(size: int) -> str:
    """Decimal, as the hub's pages have it."""
    return f"{size / 1e9:.2f} GB" if size >= 10**8 else f"{size / 1e6:.1f} MB"
