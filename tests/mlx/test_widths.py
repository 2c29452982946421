"""LLaVAs in half precision, as the hub has them, say nearly what they say in float32."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import llava
from tests.mlx.builders import ask, loaded, picture
from vqa_engine.adapter import GenerationPlan, Trace
from vqa_engine_adapters.mlx.llava import LlavaMlx

PLAN = GenerationPlan(max_tokens=4)
LAYOUTS = [("llava", "llama"), ("llava_next", "mistral"), ("llava_next", "llama")]
"""Type and language model; LLaVA 1.5 was published on Vicuna alone."""

Folder = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The tiny checkpoint of a layout in float32, made when it is first asked for."""
    root = tmp_path_factory.mktemp("widths")

    def made(kind: str, body: str) -> Path:
        target = root / f"{kind}-{body}"
        return target if target.exists() else llava.write(target, model_type=kind, body=body)

    return made


@pytest.mark.parametrize("width", ["bfloat16", "float16"])
@pytest.mark.parametrize(("kind", "body"), LAYOUTS)
def test_half_precision_says_nearly_the_same(
    folder: Folder, tmp_path: Path, kind: str, body: str, width: str
) -> None:
    whole, half = _seen(folder(kind, body)), _seen(_narrowed(folder(kind, body), tmp_path, width))
    assert half.prompt_ids == whole.prompt_ids
    assert half.image_positions == whole.image_positions
    expected = dict(whole.first)
    shared = [(token, score) for token, score in half.first if token in expected]
    assert len(shared) >= 3
    assert all(score == pytest.approx(expected[token], abs=0.3) for token, score in shared)


def _seen(folder: Path) -> Trace:
    with loaded(folder, LlavaMlx()) as adapter:
        answer, other = (adapter.answer(ask(one), PLAN) for one in (picture(), picture(50, 160)))
        assert answer.token_ids
        assert answer.token_ids != other.token_ids
        return adapter.trace(ask(picture()), PLAN)


def _narrowed(folder: Path, target: Path, width: str) -> Path:
    """The checkpoint with every tensor in another width."""
    import mlx.core as mx

    for file in folder.iterdir():
        if file.suffix == ".json":
            (target / file.name).write_text(file.read_text())
    weights: dict[str, Any] = mx.load(str(folder / "model.safetensors"))  # type: ignore[assignment]
    narrow = {name: one.astype(getattr(mx, width)) for name, one in weights.items()}
    mx.save_safetensors(str(target / "model.safetensors"), narrow, {"format": "mlx"})
    index = {"metadata": {}, "weight_map": dict.fromkeys(narrow, "model.safetensors")}
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    return target
