"""Memory profiles from headers, against the models that they describe."""

from __future__ import annotations

from typing import ClassVar

import pytest
from attrs import evolve

from tests.mlx.builders import ADAPTERS, Checkpoints, ask, loaded, picture
from vqa_engine.adapter import GenerationPlan, ImageTokens, ModelRef
from vqa_engine_adapters.checkpoints.checkpoint import Description, resolve
from vqa_engine_adapters.checkpoints.headers import Tensor
from vqa_engine_adapters.checkpoints.profile import (
    activations_per_token,
    attention_per_pair,
    kv_per_token,
    profile,
)
from vqa_engine_adapters.families import phi35, smolvlm
from vqa_engine_adapters.families.llava import LLAVA, image_tokens
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.pieces import small_pieces

pytest_plugins = ("tests.mlx.fixtures",)

KIB = 2**10
TYPES = ("smolvlm", "llava_next", "llava", "phi3_v")


def half(*shape: int) -> Tensor:
    """A float16 tensor."""
    return Tensor(dtype="F16", shape=shape, nbytes=2)


def packed(*shape: int) -> Tensor:
    """A 4-bit tensor: eight weights to a 32-bit word."""
    return Tensor(dtype="U32", shape=shape, nbytes=4)


@pytest.mark.parametrize(
    ("name", "layers", "rows", "expected"),
    [
        ("LLaVA-1.5-7B", 32, 32 * 128, 512 * KIB),
        ("LLaVA-1.6-Mistral-7B", 32, 8 * 128, 128 * KIB),
        ("SmolVLM-2.2B", 24, 32 * 64, 192 * KIB),
        ("SmolVLM-256M", 30, 3 * 64, 22.5 * KIB),
    ],
)
def test_kv_of_known_models(name: str, layers: int, rows: int, expected: float) -> None:
    """The table of docs/facts/memory.md, "Prediction", from shapes in 4 bits."""
    tensors = {"vision_tower.encoder.layers.0.self_attn.k_proj.weight": half(1024, 1024)}
    for layer in range(layers):
        for kind in "kvq":
            stem = f"language_model.model.layers.{layer}.self_attn.{kind}_proj"
            tensors |= {f"{stem}.weight": packed(rows, 64), f"{stem}.scales": half(rows, 8)}
    assert kv_per_token(tensors, {}) == expected, name


def test_kv_of_a_fused_projection() -> None:
    """Phi-3.5-vision: 32 layers, 32 heads of 96, no grouping."""
    tensors = {
        f"model.layers.{layer}.self_attn.qkv_proj.weight": packed(9216, 384) for layer in range(32)
    }
    assert kv_per_token(tensors, {"num_attention_heads": 32, "hidden_size": 3072}) == 384 * KIB


def test_kv_of_an_unknown_layout() -> None:
    assert kv_per_token({"model.mixer.weight": half(8, 8)}, {}) is None


@pytest.mark.parametrize("width", ["float", "4bit"])
@pytest.mark.parametrize("model_type", TYPES)
class TestAgainstTheModel:
    """Headers promise what the loaded model then takes."""

    def test_weights(self, checkpoints: Checkpoints, model_type: str, width: str) -> None:
        folder, adapter = checkpoints(model_type, width), ADAPTERS[model_type]()
        promised = profile(adapter.family, resolve(adapter.family, ModelRef(model=str(folder))))
        with loaded(folder, adapter):
            pieces = small_pieces(adapter.family)
            whole = evolve(promised, strategies=(*pieces, *promised.strategies))
            assert adapter.memory_profile() == whole

    def test_kv(self, checkpoints: Checkpoints, model_type: str, width: str) -> None:
        import mlx.core as mx
        from mlx_vlm.models.cache import make_prompt_cache

        with loaded(checkpoints(model_type, width), ADAPTERS[model_type]()) as adapter:
            model = adapter._ready().model.language_model
            cache = make_prompt_cache(model)
            model(mx.zeros((1, 256), dtype=mx.int32), cache=cache)
            mx.eval([layer.state for layer in cache])
            held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache)
            assert adapter.memory_profile().kv_per_token == held / 256


def test_weights_are_what_the_allocator_sees(checkpoints: Checkpoints) -> None:
    import mlx.core as mx

    folder = checkpoints("smolvlm", "float")
    with loaded(folder, MlxVlm()):
        pass
    before = mx.get_active_memory()
    with loaded(folder, MlxVlm()) as adapter:
        assert mx.get_active_memory() - before == adapter.memory_profile().weights


class TestSparseConfig:
    """What a config leaves out comes from the shapes, or from what its family means by it."""

    TENSORS: ClassVar = {
        "language_model.model.layers.0.self_attn.q_proj.weight": half(2048, 2560),
        "language_model.model.layers.0.self_attn.k_proj.weight": half(1024, 2560),
        "language_model.model.layers.0.self_attn.q_norm.weight": half(256),
        "language_model.model.layers.0.input_layernorm.weight": half(2560),
        "language_model.model.layers.0.mlp.gate_proj.weight": half(10240, 2560),
        "vision_tower.encoder.layers.0.self_attn.q_proj.weight": half(9, 9),
    }

    def test_heads_of_gemma(self) -> None:
        assert attention_per_pair(self.TENSORS, {"text_config": {}}) == 8 * 2

    def test_heads_of_usual_width(self) -> None:
        tensors = {name: one for name, one in self.TENSORS.items() if "q_norm" not in name}
        assert attention_per_pair(tensors, {}) == 16 * 2

    def test_activations(self) -> None:
        assert activations_per_token(self.TENSORS, {}) == (4 * 2560 + 3 * 10240) * 2

    def test_of_the_default_llava(self) -> None:
        config = {"model_type": "llava_next", "text_config": {"model_type": "mistral"}}
        found = profile(
            LLAVA, Description(name="x", config=config, settings={}, tensors=self.TENSORS)
        )
        assert found.attention_per_pair == 32 * 2
        assert found.activations_per_token

    def test_published_sizes(self) -> None:
        """docs/facts/published_checkpoints.md, C."""
        assert LlavaMlx.family.estimate.weights == 4_258_000_000


class TestImageTokens:
    """The rules, on the settings of the default checkpoints."""

    def test_of_smolvlm2(self) -> None:
        settings = {
            "image_seq_len": 64,
            "size": {"longest_edge": 2048},
            "max_image_size": {"longest_edge": 512},
        }
        rule = smolvlm.image_tokens({}, settings)
        assert rule == ImageTokens(per_tile=64, tile_edge=512, max_tiles=17)
        assert rule == smolvlm.SMOLVLM.estimate.image_tokens
        assert rule.most == 1088
        whole = smolvlm.image_tokens({}, settings | {"do_image_splitting": False})
        assert whole == evolve(rule, max_tiles=1)

    def test_of_smolvlm_without_settings(self) -> None:
        assert smolvlm.image_tokens({}, {}) is None

    def test_of_llava(self) -> None:
        assert image_tokens({"model_type": "llava"}, {}).most == 576
        full = {"model_type": "llava", "vision_feature_select_strategy": "full"}
        assert image_tokens(full, {}).most == 577
        grids = {"image_grid_pinpoints": [[336, 672], [672, 672], [1008, 336]]}
        rule = image_tokens({"model_type": "llava_next"}, grids)
        assert rule == LLAVA.estimate.image_tokens

    @pytest.mark.parametrize("crops", [1, 4, 16])
    def test_of_phi(self, crops: int) -> None:
        rule = phi35.image_tokens({}, {"num_crops": crops})
        grids = [(h, w) for h in range(1, crops + 1) for w in range(1, crops + 1) if h * w <= crops]
        assert rule.most == max((h * w + 1) * 144 + 1 + (h + 1) * 12 for h, w in grids)

    @pytest.mark.parametrize("model_type", TYPES)
    @pytest.mark.slow
    def test_bound_what_a_question_takes(self, checkpoints: Checkpoints, model_type: str) -> None:
        """Also through the generic adapter, which knows each family's rule."""
        with loaded(checkpoints(model_type, "float"), MlxVlm()) as adapter:
            rule = adapter.memory_profile().image_tokens
            assert rule is not None
            for size in ((300, 200), (50, 400)):
                taken = _image_tokens(adapter, size)
                assert 0 < taken <= rule.most
                assert model_type in {"phi3_v", "llava_next"} or taken % rule.per_tile == 0


def _image_tokens(adapter: MlxAdapter, size: tuple[int, int]) -> int:
    tokens = adapter.answer(ask(picture(*size)), GenerationPlan(max_tokens=1)).tokens
    assert tokens is not None
    return tokens.image or 0
