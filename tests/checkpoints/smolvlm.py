"""A tiny SmolVLM, as `mlx-community/SmolVLM2-500M-Video-Instruct-mlx` is laid out."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tests.checkpoints import byte_level_bpe, write_json, write_weights

TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
)

TILE, PATCH, SCALE = 64, 8, 4
TILE_27 = 27 * PATCH
TOKENS_PER_TILE = (TILE // PATCH) ** 2 // SCALE**2


def write(
    folder: Path,
    *,
    model_type: str = "smolvlm",
    seed: int = 0,
    tile: int = TILE,
    scale: int = SCALE,
) -> Path:
    """A checkpoint of about 0.3 M parameters; `model_type` may also be idefics3.

    `tile` is the side of a tile in pixels, `scale` that of a square of patches that become
    one token. A tile of `TILE_27` and a scale of 3 are the grid of SmolVLM-Instruct, 27x27.
    """
    tokenizer = byte_level_bpe(SPECIALS)
    config = _config(model_type, tokenizer.get_vocab_size(), tile, scale)
    write_json(folder, "config.json", config)
    write_json(folder, "generation_config.json", {"bos_token_id": 1, "eos_token_id": 5})
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_processor(folder, model_type, tile, scale)
    write_weights(folder, _model(model_type, config), seed, gain=1.5)
    return folder


def _config(
    model_type: str, vocabulary: int, tile: int = TILE, scale: int = SCALE
) -> dict[str, Any]:
    return {
        "architectures": ["SmolVLMForConditionalGeneration"],
        "model_type": model_type,
        "image_token_id": SPECIALS.index("<image>"),
        "pad_token_id": 2,
        "scale_factor": scale,
        "tie_word_embeddings": False,
        "vocab_size": vocabulary,
        "text_config": {
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "rms_norm_eps": 1e-5,
            "rope_theta": 100000,
            "vocab_size": vocabulary,
            "max_position_embeddings": 8192,
        },
        "vision_config": {
            "model_type": f"{model_type}_vision",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": tile,
            "patch_size": PATCH,
        },
    }


def _write_processor(folder: Path, model_type: str, tile: int, scale: int = SCALE) -> None:
    kind = {"smolvlm": "SmolVLM", "idefics3": "Idefics3"}[model_type]
    write_json(
        folder,
        "preprocessor_config.json",
        {
            "do_convert_rgb": True,
            "do_image_splitting": True,
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "image_processor_type": f"{kind}ImageProcessor",
            "max_image_size": {"longest_edge": tile},
            "processor_class": f"{kind}Processor",
            "resample": 1,
            "rescale_factor": 1 / 255,
            "size": {"longest_edge": 4 * tile},
        },
    )
    write_json(
        folder,
        "processor_config.json",
        {"image_seq_len": (tile // PATCH) ** 2 // scale**2, "processor_class": f"{kind}Processor"},
    )
    write_json(folder, "chat_template.json", {"chat_template": TEMPLATE})
    write_json(
        folder,
        "tokenizer_config.json",
        {
            "tokenizer_class": "GPT2Tokenizer",
            "bos_token": "<|im_start|>",
            "eos_token": "<end_of_utterance>",
            "pad_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "processor_class": f"{kind}Processor",
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 8192,
        },
    )


def _model(model_type: str, config: dict[str, Any]) -> Any:
    module = import_module(f"mlx_vlm.models.{model_type}")
    return module.Model(
        module.ModelConfig(
            **{key: config[key] for key in ("model_type", "image_token_id", "scale_factor")},
            vocab_size=config["vocab_size"],
            text_config=module.TextConfig.from_dict(config["text_config"]),
            vision_config=module.VisionConfig.from_dict(config["vision_config"]),
        )
    )
