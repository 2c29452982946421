"""Tiny checkpoints of families without an adapter of their own."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tests.checkpoints import byte_level_bpe, write_json, write_weights

GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}"
    "{{ '<start_of_image>' }}{% elif item['type'] == 'text' %}{{ item['text'] | trim }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in item %}{{ item['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INTERNVL_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for item in message['content'] %}{% if item['type'] == 'image' %}<image>\n"
    "{% else %}{{ item['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
GEMMA_SPECIALS = (
    "<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>",
    "<end_of_image>", "<image_soft_token>",
)  # fmt: skip
TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-6,
}


def write(folder: Path, kind: str) -> Path:
    """A checkpoint of the model type `kind`, its weights written by mlx-vlm."""
    from mlx_vlm.utils import update_module_configs

    config = files(folder, kind)
    module = import_module(f"mlx_vlm.models.{kind}")
    known = {**config, "text_config": config.get("text_config", {})}
    made = module.ModelConfig.from_dict(known)
    made = update_module_configs(made, module, known, ["text", "vision"])
    write_weights(folder, module.Model(made), seed=3, gain=1.5)
    return folder


def files(folder: Path, kind: str) -> dict[str, Any]:
    """Everything but the weights; the configuration."""
    made = {
        "gemma3": _gemma3,
        "pixtral": _pixtral,
        "internvl_chat": _internvl_chat,
        "internvl": _internvl,
    }
    return made[kind](folder) if kind in made else _qwen(folder, kind)


def _gemma3(folder: Path) -> dict[str, Any]:
    tokenizer = _with_start(byte_level_bpe(GEMMA_SPECIALS), "<bos>")
    size = tokenizer.get_vocab_size()
    config = {
        "model_type": "gemma3",
        "image_token_index": GEMMA_SPECIALS.index("<image_soft_token>"),
        "mm_tokens_per_image": 4,
        "vocab_size": size,
        "eos_token_id": [1, 5],
        "text_config": {
            **TEXT,
            "model_type": "gemma3_text",
            "num_hidden_layers": 6,
            "head_dim": 32,
            "vocab_size": size,
            "mm_tokens_per_image": 4,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
    }
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>"}
    names["eoi_token"] = "<end_of_image>"
    write_json(
        folder,
        "tokenizer_config.json",
        {
            **{"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
            **names,
            "extra_special_tokens": names,
            "add_bos_token": True,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "processor_class": "Gemma3Processor",
        },
    )
    write_json(
        folder,
        "preprocessor_config.json",
        {
            **_pixels("Gemma3ImageProcessor", "Gemma3Processor"),
            "size": {"height": 56, "width": 56},
            "image_seq_length": 4,
        },
    )
    write_json(
        folder,
        "processor_config.json",
        {"image_seq_length": 4, "processor_class": "Gemma3Processor"},
    )
    return _finish(folder, config, tokenizer, GEMMA_TEMPLATE)


def _qwen(folder: Path, kind: str) -> dict[str, Any]:
    tokenizer = byte_level_bpe(QWEN_SPECIALS)
    size = tokenizer.get_vocab_size()
    config = {
        "model_type": kind,
        "image_token_id": QWEN_SPECIALS.index("<|image_pad|>"),
        "video_token_id": QWEN_SPECIALS.index("<|video_pad|>"),
        "vision_start_token_id": QWEN_SPECIALS.index("<|vision_start|>"),
        "vision_end_token_id": QWEN_SPECIALS.index("<|vision_end|>"),
        "eos_token_id": [2, 0],
        **TEXT,
        "vocab_size": size,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]},
        "tie_word_embeddings": False,
        "vision_config": {**_QWEN_VISION[kind], "model_type": kind, "in_channels": 3},
    }
    if kind == "qwen3_vl":
        del config["rope_scaling"]
        rope = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [6, 5, 5]}
        config["text_config"] = {**TEXT, "model_type": "qwen3_vl_text", "vocab_size": size,
                                 "head_dim": 32, "rope_theta": 1e6, "max_position_embeddings": 4096,
                                 "rope_scaling": rope}  # fmt: skip
    write_json(
        folder,
        "tokenizer_config.json",
        {
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "tokenizer_class": "Qwen2Tokenizer",
            "processor_class": "Qwen2VLProcessor",
        },
    )
    write_json(
        folder,
        "preprocessor_config.json",
        {
            **_pixels("Qwen2VLImageProcessor", "Qwen2VLProcessor"),
            "resample": 3,
            "min_pixels": 3136,
            "max_pixels": 12_845_056,
            "patch_size": 16 if kind == "qwen3_vl" else 14,
            "merge_size": 2,
            "temporal_patch_size": 2,
        },
    )
    return _finish(folder, config, tokenizer, QWEN_TEMPLATE)


def _pixtral(folder: Path) -> dict[str, Any]:
    specials = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]")
    tokenizer = byte_level_bpe(specials)
    config = {
        "model_type": "pixtral",
        "image_token_index": specials.index("[IMG]"),
        "vocab_size": tokenizer.get_vocab_size(),
        "eos_token_id": 2,
        "text_config": {
            **TEXT,
            "model_type": "mistral",
            "head_dim": 32,
            "vocab_size": tokenizer.get_vocab_size(),
        },
        "vision_config": {
            "model_type": "pixtral", "hidden_size": 64, "intermediate_size": 128, "head_dim": 32,
            "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 128, "patch_size": 16,
        },
    }  # fmt: skip
    write_json(
        folder,
        "tokenizer_config.json",
        {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<unk>",
            "tokenizer_class": "PreTrainedTokenizerFast",
            "processor_class": "PixtralProcessor",
        },
    )
    images = _pixels("PixtralImageProcessor", "PixtralProcessor")
    sizes = {"size": {"longest_edge": 128}, "patch_size": {"height": 16, "width": 16}}
    write_json(folder, "preprocessor_config.json", {**images, **sizes})
    write_json(
        folder, "processor_config.json", {"patch_size": 16, "processor_class": "PixtralProcessor"}
    )
    template = (
        "<s>{% for message in messages %}[INST]{% for item in message['content'] %}"
        "{% if item['type'] == 'image' %}[IMG]{% else %}{{ item['text'] }}{% endif %}"
        "{% endfor %}[/INST]{% endfor %}"
    )
    return _finish(folder, config, tokenizer, template)


def _internvl(folder: Path) -> dict[str, Any]:
    """The layout of transformers, as in OpenGVLab/InternVL3_5-*-HF."""
    specials = (
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>",
        "<video>",
    )  # fmt: skip
    tokenizer = byte_level_bpe(specials)
    size = tokenizer.get_vocab_size()
    config = {
        "model_type": "internvl",
        "image_token_id": specials.index("<IMG_CONTEXT>"),
        "image_seq_length": 4,
        "downsample_ratio": 0.5,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "text_config": {
            **TEXT, "model_type": "qwen3", "head_dim": 32, "vocab_size": size, "rope_theta": 1e6,
            "tie_word_embeddings": False, "max_position_embeddings": 4096,
        },
        "vision_config": {
            "model_type": "internvl_vision", "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": [56, 56],
            "patch_size": [14, 14], "attention_bias": True,
        },
    }  # fmt: skip
    names = {"start_image_token": "<img>", "end_image_token": "</img>"}
    names |= {"context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}
    write_json(
        folder,
        "tokenizer_config.json",
        {
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "tokenizer_class": "Qwen2Tokenizer",
            "processor_class": "InternVLProcessor",
            "extra_special_tokens": names,
            **names,
        },
    )
    write_json(
        folder,
        "preprocessor_config.json",
        {
            **_pixels("GotOcr2ImageProcessor", "InternVLProcessor"),
            **{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
            "resample": 3,
            "size": {"height": 56, "width": 56},
            "crop_to_patches": True,
            "min_patches": 1,
            "max_patches": 12,
        },
    )
    write_json(
        folder,
        "processor_config.json",
        {"image_seq_length": 4, "processor_class": "InternVLProcessor"},
    )
    return _finish(folder, config, tokenizer, INTERNVL_TEMPLATE.replace("<image>", specials[5]))


def _internvl_chat(folder: Path) -> dict[str, Any]:
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")
    tokenizer = byte_level_bpe(specials)
    text = {**TEXT, "model_type": "qwen2", "vocab_size": tokenizer.get_vocab_size()}
    config = {
        "model_type": "internvl_chat",
        "image_token_index": specials.index("<IMG_CONTEXT>"),
        "vocab_size": tokenizer.get_vocab_size(),
        "eos_token_id": 2,
        "force_image_size": 56,
        "max_dynamic_patch": 4,
        "downsample_ratio": 0.5,
        "text_config": text,
        "vision_config": {
            "model_type": "intern_vit_6b", "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
        },
    }  # fmt: skip
    write_json(
        folder,
        "tokenizer_config.json",
        {
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "tokenizer_class": "Qwen2Tokenizer",
        },
    )
    images = _pixels("InternVLImageProcessor", "InternVLChatProcessor")
    write_json(folder, "preprocessor_config.json", images)
    return _finish(folder, config, tokenizer, INTERNVL_TEMPLATE)


_QWEN_VISION: dict[str, dict[str, Any]] = {
    "qwen2_vl": {
        "depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": 14,
        "mlp_ratio": 2, "spatial_merge_size": 2, "temporal_patch_size": 2,
    },
    "qwen2_5_vl": {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64,
        "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "window_size": 112, "fullatt_block_indexes": [1],
    },
    "qwen3_vl": {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64,
        "num_heads": 2, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
    },
}  # fmt: skip


def _pixels(images: str, processor: str) -> dict[str, Any]:
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": images,
        "processor_class": processor,
        "resample": 2,
        "rescale_factor": 1 / 255,
    }


def _with_start(tokenizer: Any, start: str) -> Any:
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
    )
    return tokenizer


def _finish(folder: Path, config: dict[str, Any], tokenizer: Any, template: str) -> dict[str, Any]:
    write_json(folder, "config.json", config)
    write_json(folder, "generation_config.json", {"eos_token_id": config["eos_token_id"]})
    write_json(folder, "chat_template.json", {"chat_template": template})
    tokenizer.save(str(folder / "tokenizer.json"))
    return config
