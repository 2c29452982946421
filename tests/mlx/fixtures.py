"""Fixtures of the MLX tests: tiny checkpoints on disk, and images of every kind.

Named in `pytest_plugins` by the test modules, so that a session makes each of them once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from tests.checkpoints import phi3_v, quantised
from tests.mlx.builders import WRITERS, Checkpoints, loaded, picture
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

TOWER_LAYERS = 1
"""CLIP layers of the tiny Phi. Its features are the last layer's input, so with one layer
only the patches are embedded: each further one costs seconds per crop on a reference BLAS."""


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoints]:
    """Tiny checkpoints, made when they are first asked for.

    While it is up, mlx-vlm builds Phi's vision tower small.
    """
    root = tmp_path_factory.mktemp("checkpoints")

    def folder(model_type: str, width: str) -> Path:
        target = root / f"{model_type}-{width}"
        if target.exists():
            return target
        if width == "float":
            return WRITERS[model_type](target)
        dtype = "float16" if width == "4bit-half" else "float32"
        return quantised(folder(model_type, "float"), target, dtype)

    with phi3_v.small_tower(TOWER_LAYERS):
        yield folder


@pytest.fixture
def copied(checkpoints: Checkpoints, tmp_path: Path) -> Callable[[str], Path]:
    """A float checkpoint that the test may change."""

    def copy(model_type: str) -> Path:
        return Path(shutil.copytree(checkpoints(model_type, "float"), tmp_path / "copied"))

    return copy


@pytest.fixture(scope="session")
def image_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file for each kind of image that a question set may hold."""
    root = tmp_path_factory.mktemp("images")
    exif = Image.Exif()
    exif[0x0112] = 6
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "rgb.png": (picture(), {}),
        "rgba.png": (_translucent(picture()), {}),
        "palette.png": (picture().quantize(16), {}),
        "grey.png": (picture(60, 120).convert("L"), {}),
        "cmyk.jpg": (picture().convert("CMYK"), {}),
        "rotated.jpg": (picture(120, 40), {"exif": exif}),
        "one.png": (Image.new("RGB", (1, 1), (200, 30, 90)), {}),
        "strip.png": (ImageOps.invert(picture(4000, 50)), {}),
    }
    for name, (image, options) in made.items():
        image.save(root / name, **options)
    return {name.partition(".")[0]: root / name for name in made}


def _translucent(image: Image.Image) -> Image.Image:
    image.putalpha(Image.radial_gradient("L").resize(image.size))
    return image


@pytest.fixture
def smol(checkpoints: Checkpoints) -> Iterator[MlxAdapter]:
    """The smallest of them, for what does not depend on the family."""
    with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
        yield adapter
