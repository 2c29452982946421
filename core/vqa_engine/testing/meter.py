"""Counting bytes: an adapter's memory by the most exact counter that its backend has."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import AbstractContextManager
from typing import Self

from vqa_engine.memory.backend import MemoryBackend
from vqa_engine.memory.backends import backend

KIB = 1 << 10


class Meter(AbstractContextManager["Meter"]):
    """Bytes held now, after a collection.

    `residue` is what may stay after a release, `drip` what may stay of one question;
    both are 0 bytes where the counter counts the model's arrays and nothing else.
    `counts_weights` says whether the figure may be compared with a profile's weights.
    """

    residue = 0
    drip = 0
    counts_weights = True

    def read(self) -> int:
        """The figure."""
        gc.collect()
        return self._held()

    def _held(self) -> int:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing to put back."""


class Allocator(Meter):
    """A backend with counters of its own: MLX, and PyTorch on CUDA or MPS.

    The pool is cleared first: with it go cuBLAS's work spaces, which belong to no model.
    """

    def __init__(self, counted: MemoryBackend) -> None:
        self._backend = counted

    def _held(self) -> int:
        self._backend.calls.get("clear_cache", int)()
        return self._backend.read().active or 0


class Arrays(Meter):
    """A backend that counts nothing here, as PyTorch on the CPU: its arrays are added up."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend

    def _held(self) -> int:
        return self._backend.sum_arrays() or 0


class Traced(Meter):
    """No tensor library: Python's own allocations, by `tracemalloc`.

    Modules that are imported on the way, and caches of the interpreter, are counted as
    well, so a little may stay: 256 KiB in all, 512 bytes of a question.
    """

    residue = 256 * KIB
    drip = 512
    counts_weights = False

    def _held(self) -> int:
        return tracemalloc.get_traced_memory()[0]

    def __enter__(self) -> Self:
        self._ours = not tracemalloc.is_tracing()
        if self._ours:
            tracemalloc.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._ours:
            tracemalloc.stop()


def meter(name: str, device: str | None = None) -> Meter:
    """The most exact meter for a backend on a device, its preferred one by default.

    Raises:
        BackendError: the backend's library is missing.
    """
    counted = backend(name, device)
    if counted.read().active is not None:
        return Allocator(counted)
    return Traced() if counted.sum_arrays() is None else Arrays(counted)
