"""What an engine reports while it works: subclass `Observer` and override what you want."""

from __future__ import annotations

from attrs import frozen

from vqa_engine.adapter import Transfer
from vqa_engine.errors import VqaEngineError
from vqa_engine.results import Loaded, MemoryEvent, Note, Released, Row
from vqa_engine.scoring import Scoreboard


@frozen(kw_only=True)
class Progress:
    """How far one adapter's run is.

    `done` of `total` questions are through, `resumed` of them in an earlier process.
    `board` is the live scoreboard of the first metric; its `overall` is the score so far.
    """

    done: int
    total: int
    resumed: int
    failed: int
    degraded: int
    board: Scoreboard


class Observer:
    """Hears of everything, does nothing. Calls come from the engine's thread, in order."""

    def resuming(self, label: str, rows: int) -> None:
        """An earlier process left this many rows, which are now read and scored."""

    def started(self, label: str, progress: Progress) -> None:
        """A run of one adapter begins, or goes on where it stopped."""

    def loading(self, label: str) -> None:
        """A model is about to be loaded."""

    def fetching(self, label: str, transfer: Transfer) -> None:
        """A model's checkpoint is being downloaded; called now and then, and at the end."""

    def loaded(self, label: str, loaded: Loaded) -> None:
        """A model is ready."""

    def answered(self, row: Row, progress: Progress) -> None:
        """A question is through, answered or failed, and its row recorded."""

    def memory(self, label: str, event: MemoryEvent) -> None:
        """The engine did something about memory."""

    def note(self, label: str, note: Note) -> None:
        """The engine or the adapter logged something.

        From a worker come records of level info and above; inline, those that the loggers let
        through: `logging.getLogger("vqa_engine").setLevel("INFO")` asks for the same.
        """

    def released(self, label: str, released: Released) -> None:
        """A model was let go."""

    def failed(self, label: str, error: VqaEngineError) -> None:
        """A model could not be run; the next one is tried."""


SILENT: Observer = Observer()
