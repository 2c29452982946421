"""What holds on every backend imports no backend, and no backend imports another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import vqa_engine_adapters

ROOT = Path(vqa_engine_adapters.__file__).parent
BACKENDS = {"mlx", "torch", "http"}


def imported(package: str) -> Iterator[str]:
    """The first-party packages that the modules of one package import, anywhere in them."""
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{one.name}" for one in node.names]
            for name in names:
                if name.startswith("vqa_engine_adapters."):
                    yield name.split(".")[1]


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_a_backend_imports_no_other(backend: str) -> None:
    assert not (BACKENDS - {backend}) & set(imported(backend))


@pytest.mark.parametrize("package", ["families", "checkpoints", "builtin"])
def test_what_is_shared_imports_no_backend(package: str) -> None:
    assert not BACKENDS & set(imported(package))
