"""How fast questions are answered, by one place or by several side by side."""

from __future__ import annotations

from collections import Counter, defaultdict

from attrs import define, field


@define
class Pace:
    """Counts questions and their seconds, by the place that answered."""

    _counts: Counter[str] = field(factory=Counter)
    _seconds: defaultdict[str, float] = field(factory=lambda: defaultdict(float))

    def add(self, place: str, seconds: float) -> None:
        """Count one more."""
        self._counts[place] += 1
        self._seconds[place] += seconds

    def withdraw(self, place: str, seconds: float) -> None:
        """Count one less."""
        self._counts[place] -= 1
        self._seconds[place] -= seconds

    @property
    def rate(self) -> float | None:
        """Questions a second while every place works; None where no time is known.

        The seconds of a question are those of its place, so the paces of places add up.
        """
        rates = (
            count / self._seconds[place]
            for place, count in self._counts.items()
            if count and self._seconds[place] > 0
        )
        return sum(rates) or None
