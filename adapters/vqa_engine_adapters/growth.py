"""How many questions go together: more as long as it pays, half once it was too many."""

from __future__ import annotations

FIRST = 8
MOST = 64
"""Questions together at first, and at most unless the caller knows better. LLaVA 1.5 7B on an
H200 answers 5, 23, 29, 41 and 47 questions a second in batches of 1, 8, 16, 32 and 64
(docs/facts/gpu.md)."""

_WORTH = 1.1
"""Twice the memory has to bring a tenth more questions per second."""

_PATIENCE = 2
"""Batches that brought nothing before growth ends: one may have had large pictures."""


class Growth:
    """Learns from batch to batch; `size` is what to try next.

    Up to `always` it grows whatever that brings.
    """

    def __init__(self, most: int = MOST, always: int = 0) -> None:
        self._always = always
        self.size, self._most = min(FIRST, most), most
        self._best, self._best_size, self._misses = 0.0, self.size, 0

    def answered(self, count: int, seconds: float) -> None:
        """A batch of so many was answered; one of less than half of what was wanted teaches
        nothing. (A batch may be cut so that an image's questions stay together.)"""
        if 2 * count < self.size or self._misses >= _PATIENCE:
            return
        rate = count / seconds
        if rate >= _WORTH * self._best or self.size < self._always:
            self._best, self._best_size, self._misses = rate, self.size, 0
            self.size = min(2 * self.size, self._most)
            return
        self._misses += 1
        if self._misses >= _PATIENCE:
            self.size = max(self._best_size, min(self._always, self._most))

    def failed(self, count: int) -> None:
        """So many were too many at once: never again as many."""
        self._most = max(1, count // 2)
        self.size = self._best_size = min(self.size, self._most)
