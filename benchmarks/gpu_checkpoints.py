"""Checkpoints of published shapes with random weights, for MLX; or tiny ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.image_reuse import CASES
from tests.checkpoints import llava, phi3_v, smolvlm

from vqa_engine.adapter import ModelAdapter
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

LLAVA_TEXT = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
LLAVA_VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "projection_dim": 768,
}
LLAVA_GRIDS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
PHI = {
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
}


def llava_16(folder: Path, *, large: bool) -> Path:
    """LLaVA 1.6 on Mistral 7B."""
    if not large:
        return llava.write(folder)
    made = llava._config

    def config(model_type: str, image: int, body: str = "") -> dict[str, Any]:
        whole = made(model_type, image, body)
        whole["text_config"] |= LLAVA_TEXT
        whole["vision_config"] |= LLAVA_VISION
        return whole

    with (
        patch.object(llava, "EDGE", 336),
        patch.object(llava, "PATCHES", 576),
        patch.object(llava, "GRIDS", LLAVA_GRIDS),
        patch.object(llava, "_config", config),
        patch.object(llava, "write_weights", _quantised),
    ):
        return llava.write(folder)


def phi_35(folder: Path, *, large: bool) -> Path:
    """Phi-3.5-vision with four crops."""
    made = phi3_v._config

    def config() -> dict[str, Any]:
        whole = made() | PHI
        half = PHI["hidden_size"] // PHI["num_attention_heads"] // 2
        whole["rope_scaling"] = {
            "type": "su",
            "short_factor": [1.0] * half,
            "long_factor": [1.0 + 0.1 * index for index in range(half)],
        }
        return whole

    if not large:
        # For good: the tower has to be small while the model is loaded as well.
        phi3_v.small_tower(2).__enter__()
        return phi3_v.write(folder, num_crops=4)
    with patch.object(phi3_v, "_config", config), patch.object(phi3_v, "write_weights", _quantised):
        return phi3_v.write(folder, num_crops=4)


def smolvlm_256m(folder: Path, *, large: bool) -> Path:
    """SmolVLM 256M with 17 tiles, in float32."""
    return CASES["smolvlm-256m"].write(folder) if large else smolvlm.write(folder)


SHAPES: dict[str, tuple[type[ModelAdapter], Callable[..., Path]]] = {
    "llava_mlx": (LlavaMlx, llava_16),
    "phi35_vision": (Phi35Vision, phi_35),
    "smolvlm": (SmolVlm, smolvlm_256m),
}
"""By the adapter's name: its class, and what writes a checkpoint into a folder."""

TINY = ("llava_mlx", "smolvlm")
"""What a CPU can try; Phi's tower has a fixed width."""


def _quantised(folder: Path, model: Any, seed: int, gain: float = 1.0) -> None:
    """Random weights in float16, the language model's matrices in 4 bits."""
    import json

    import mlx.core as mx
    from mlx import nn
    from mlx.utils import tree_flatten, tree_unflatten
    from mlx_vlm.utils import save_weights

    mx.random.seed(seed)
    for name, array in tree_flatten(model.parameters()):
        fan_in = max(1, array.size // array.shape[0]) if array.ndim > 1 else 100
        drawn = mx.random.normal(array.shape, dtype=mx.float16) * (gain / fan_in**0.5)
        drawn = drawn + 1 if "norm" in name and name.endswith("weight") else drawn
        mx.eval(drawn)
        model.update(tree_unflatten([(name, drawn)]))
    nn.quantize(model, group_size=64, bits=4, class_predicate=_language)
    mx.eval(model.parameters())
    save_weights(folder, model)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"quantization": {"group_size": 64, "bits": 4}})
    )


def _language(path: str, module: Any) -> bool:
    width = getattr(getattr(module, "weight", None), "shape", (1,))[-1]
    inner = not any(word in path for word in ("vision", "projector"))
    return hasattr(module, "to_quantized") and inner and width % 64 == 0
