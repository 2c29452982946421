"""What a metric profile offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Metric(Protocol):
    """One named way to compare a prediction with its ground truths."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The profile's name, stored beside every score it gives."""

    @property
    @abstractmethod
    def decimals(self) -> int | None:
        """Decimals that reported percentages are rounded to; None leaves them unrounded."""

    @abstractmethod
    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """The score of one prediction, in 0..1.

        Raises:
            ScoringError: `answers` is empty, so there is nothing to compare with.
        """
