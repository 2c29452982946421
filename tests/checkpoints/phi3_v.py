"""A tiny Phi-3.5-vision, as `mlx-community/Phi-3.5-vision-instruct-4bit` is laid out.

mlx-vlm's class fixes CLIP ViT-L/14-336 whatever the config says. `small_tower` lowers its
layers and MLP for this process; the width of 1024 and the 336-pixel crops stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.checkpoints import llama_bpe, write_json, write_weights

TEMPLATE = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content']"
    " + '<|end|>\n' }}{% endfor %}{% if add_generation_prompt and messages[-1]['role'] !="
    " 'assistant' %}{{- '<|assistant|>\n' -}}{% endif %}"
)

SPECIALS = {
    "<|endoftext|>": 32000,
    "<|assistant|>": 32001,
    "<|system|>": 32006,
    "<|end|>": 32007,
    "<|user|>": 32010,
}
"""The ids of the real tokenizer (its tokenizer_config.json, `added_tokens_decoder`)."""

VOCABULARY = 32064


@contextmanager
def small_tower(layers: int) -> Iterator[None]:
    """Build phi3_v models with this many CLIP layers and a narrow MLP meanwhile."""
    from mlx_vlm.models.phi3_v.vision import VisionModel

    tower = VisionModel.CLIP_VIT_LARGE_PATCH14_336_CONFIG
    before = tower.num_hidden_layers, tower.intermediate_size
    tower.num_hidden_layers, tower.intermediate_size = layers, 64
    try:
        yield
    finally:
        tower.num_hidden_layers, tower.intermediate_size = before


def write(folder: Path, *, num_crops: int = 1, seed: int = 2) -> Path:
    """A checkpoint with two language layers; call inside `small_tower`."""
    # Random weights answer with any id, and mlx-vlm's detokenizer must know it.
    tokenizer = llama_bpe({**SPECIALS, "<|unused|>": VOCABULARY - 1})
    config = _config()
    write_json(folder, "config.json", config)
    write_json(
        folder, "generation_config.json", {"bos_token_id": 1, "eos_token_id": [32007, 32001, 32000]}
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_processor(folder, num_crops)
    write_weights(folder, _model(config), seed, gain=1.5)
    return folder


def _config() -> dict[str, Any]:
    return {
        "architectures": ["Phi3VForCausalLM"],
        "model_type": "phi3_v",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "original_max_position_embeddings": 4096,
        "max_position_embeddings": 131072,
        "rope_scaling": {
            "type": "su",
            "short_factor": [1.0 + 0.05 * index for index in range(16)],
            "long_factor": [1.0 + 0.5 * index for index in range(16)],
        },
        "vocab_size": VOCABULARY,
        "img_processor": {
            "image_dim_out": 1024,
            "model_name": "openai/clip-vit-large-patch14-336",
            "name": "clip_vision_model",
            "num_img_tokens": 144,
        },
    }


def _write_processor(folder: Path, num_crops: int) -> None:
    write_json(
        folder,
        "preprocessor_config.json",
        {
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": "Phi3VImageProcessor",
            "processor_class": "Phi3VProcessor",
            "num_crops": num_crops,
            "num_img_tokens": 144,
        },
    )
    write_json(
        folder,
        "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": "<s>",
            "chat_template": TEMPLATE,
            "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
            "unk_token": "<unk>",
            "legacy": False,
            "clean_up_tokenization_spaces": False,
            "padding_side": "right",
            "tokenizer_class": "LlamaTokenizer",
            "model_max_length": 131072,
        },
    )


def _model(config: dict[str, Any]) -> Any:
    from mlx_vlm.models import phi3_v

    return phi3_v.Model(phi3_v.ModelConfig.from_dict(config))
