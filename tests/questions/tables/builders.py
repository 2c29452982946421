"""Builders for tables of questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.question_builders import encoded


def picture(number: int = 0, size: tuple[int, int] = (8, 6)) -> bytes:
    """A PNG whose colour depends on the number."""
    return encoded(Image.new("RGB", size, (number % 256, number // 256 % 256, 7)))


def packed(number: int, path: str | None = None) -> dict[str, Any]:
    """An image as hub parquet files hold it."""
    return {"bytes": picture(number), "path": path}


def parquet_file(path: Path, rows: Sequence[dict[str, Any]], group: int = 3) -> Path:
    """A parquet file of these rows, in row groups of this size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=group)
    return path
