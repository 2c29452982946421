"""The model's architecture and the checkpoint folder's files, in the hub's `idefics3` layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Idefics3Config, Idefics3ForConditionalGeneration

from tools.train_builtin import vocabulary

IMAGE_SIZE = 64
"""Edge in pixels to which the processor brings every image."""

POSITION_SCALE = 1.0
"""Amplitude of the starting position embeddings; the best of 0.02, 0.1, 0.3 and 1."""

CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""SmolVLM's own template, word for word."""


@attrs.frozen
class Architecture:
    """The few numbers that size the model; widths are hidden units, `patch` is pixels."""

    vision_width: int = 112
    vision_layers: int = 4
    vision_feed_forward: int = 224
    text_width: int = 96
    text_layers: int = 3
    text_feed_forward: int = 192
    heads: int = 4
    patch: int = 8
    scale_factor: int = 2

    @property
    def image_tokens(self) -> int:
        """Text positions that one image takes, after the pixel shuffle."""
        return (IMAGE_SIZE // self.patch // self.scale_factor) ** 2


def build_model(
    architecture: Architecture, tokenizer: Tokenizer
) -> Idefics3ForConditionalGeneration:
    """A freshly initialised model that `model_config` describes."""
    config = Idefics3Config(**model_config(architecture, tokenizer))
    model = Idefics3ForConditionalGeneration(config)
    places = model.model.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():
        places.copy_(grid_waves(IMAGE_SIZE // architecture.patch, architecture.vision_width))
    return model


def grid_waves(side: int, width: int) -> torch.Tensor:
    """Starting position embeddings (side², width): waves along each patch's column and row.

    The usual start is noise far weaker than the patches, and the model learns to do without
    places before it needs them. Frequencies run from one radian per patch to one per picture.
    """
    frequencies = float(side) ** -torch.linspace(0, 1, width // 4)
    waves = torch.arange(side)[:, None] * frequencies
    along = POSITION_SCALE * torch.cat([waves.sin(), waves.cos()], dim=1)
    columns = along.repeat(side, 1)
    rows = along.repeat_interleave(side, dim=0)
    return torch.cat([columns, rows], dim=1)


def model_config(architecture: Architecture, tokenizer: Tokenizer) -> dict[str, Any]:
    """`config.json`, with the fields that mlx-vlm and transformers each read.

    Both key styles of the rotary base are there: mlx-vlm knows only `rope_theta`. The layer norm's
    epsilon is mlx-vlm's default, which it uses for the last norm whatever the file says.
    """
    return {
        "architectures": ["Idefics3ForConditionalGeneration"],
        "model_type": "idefics3",
        "dtype": "float32",
        "image_token_id": tokenizer.token_to_id(vocabulary.IMAGE),
        "scale_factor": architecture.scale_factor,
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": tokenizer.get_vocab_size(),
        **_token_ids(tokenizer),
        "text_config": _text_config(architecture, tokenizer),
        "vision_config": _vision_config(architecture),
    }


def write_checkpoint(
    folder: Path,
    architecture: Architecture,
    tokenizer: Tokenizer,
    weights: Mapping[str, torch.Tensor],
) -> None:
    """Write the whole folder; `weights` are named as transformers names them."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in weights.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    for name, content in _json_files(architecture, tokenizer).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def _token_ids(tokenizer: Tokenizer) -> dict[str, int | None]:
    return {
        "bos_token_id": tokenizer.token_to_id(vocabulary.START),
        "eos_token_id": tokenizer.token_to_id(vocabulary.END_OF_UTTERANCE),
        "pad_token_id": tokenizer.token_to_id(vocabulary.PAD),
    }


def _text_config(architecture: Architecture, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": architecture.text_width,
        "intermediate_size": architecture.text_feed_forward,
        "num_hidden_layers": architecture.text_layers,
        "num_attention_heads": architecture.heads,
        "num_key_value_heads": architecture.heads,
        "head_dim": architecture.text_width // architecture.heads,
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": False,
        "dtype": "float32",
        **_token_ids(tokenizer),
    }


def _vision_config(architecture: Architecture) -> dict[str, Any]:
    return {
        "model_type": "idefics3_vision",
        "hidden_size": architecture.vision_width,
        "intermediate_size": architecture.vision_feed_forward,
        "num_hidden_layers": architecture.vision_layers,
        "num_attention_heads": architecture.heads,
        "image_size": IMAGE_SIZE,
        "patch_size": architecture.patch,
        "num_channels": 3,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-5,
        "dtype": "float32",
    }


def _json_files(architecture: Architecture, tokenizer: Tokenizer) -> dict[str, dict[str, Any]]:
    return {
        "config.json": model_config(architecture, tokenizer),
        "generation_config.json": {"do_sample": False, **_token_ids(tokenizer)},
        "preprocessor_config.json": _preprocessor_config(),
        "processor_config.json": {
            "processor_class": "Idefics3Processor",
            "image_seq_len": architecture.image_tokens,
        },
        "chat_template.json": {"chat_template": CHAT_TEMPLATE},
        "tokenizer_config.json": _tokenizer_config(),
        "special_tokens_map.json": _special_tokens(),
    }


def _preprocessor_config() -> dict[str, Any]:
    """One tile of one size: no splitting, Lanczos (1), pixels mapped to -1 … 1."""
    return {
        "image_processor_type": "Idefics3ImageProcessor",
        "processor_class": "Idefics3Processor",
        "do_convert_rgb": True,
        "do_image_splitting": False,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "max_image_size": {"longest_edge": IMAGE_SIZE},
        "resample": 1,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": IMAGE_SIZE},
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "processor_class": "Idefics3Processor",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "padding_side": "left",
        **_special_tokens(),
    }


def _special_tokens() -> dict[str, Any]:
    return {
        "bos_token": vocabulary.START,
        "eos_token": vocabulary.END_OF_UTTERANCE,
        "pad_token": vocabulary.PAD,
        "unk_token": vocabulary.UNKNOWN,
        "additional_special_tokens": [
            vocabulary.FAKE_IMAGE,
            vocabulary.IMAGE,
            vocabulary.END_OF_UTTERANCE,
        ],
    }
