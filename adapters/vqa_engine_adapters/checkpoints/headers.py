"""Safetensors headers: what a checkpoint holds, without reading its weights.

The format: eight bytes with the header's length (little endian), the header (JSON: name →
dtype, shape, data_offsets), then the data (github.com/huggingface/safetensors, README).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from vqa_engine.files import open_regular

_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the reference implementation."""

_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@frozen
class Tensor:
    """One stored tensor: its dtype as the format spells it, its shape, its bytes."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @property
    def itemsize(self) -> int | None:
        """Bytes per element of a floating tensor, None for any other."""
        return _FLOATS.get(self.dtype)


def read_header(file: Path) -> dict[str, Tensor]:
    """The tensors in one file, by name.

    Raises:
        ValueError: it is not a safetensors file, or not a whole one; the text says why.
        OSError: it cannot be read.
    """
    with open_regular(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or not 0 < length <= min(_LONGEST_HEADER, size):
            raise ValueError("it has no safetensors header")
        raw = stream.read(length)
    tensors = _parse(raw)
    needed = 8 + length + sum(tensor.nbytes for tensor in tensors.values())
    if size < needed:
        raise ValueError(f"it is truncated: {size} of {needed} bytes are there")
    return tensors


def _parse(raw: bytes) -> dict[str, Tensor]:
    try:
        header = json.loads(raw)
        return {name: _tensor(entry) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("its safetensors header is not readable") from error


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    start, end = entry["data_offsets"]
    return Tensor(dtype=entry["dtype"], shape=tuple(entry["shape"]), nbytes=end - start)
