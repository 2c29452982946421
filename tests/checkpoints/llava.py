"""Tiny LLaVAs: 1.6 on Mistral (`llava_next`) and 1.5 on Llama (`llava`).

Laid out as `mlx-community/llava-v1.6-mistral-7b-4bit` and `llava-hf/llava-1.5-7b-hf`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tests.checkpoints import llama_bpe, write_json, write_weights

MISTRAL_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
    "{# Render all images first #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{# Render all text next #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] }}{% endfor %}{{' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'][0]['text'] + '</s> '}}"
    "{% endif %}{% endfor %}"
)

VICUNA_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ message['role'].upper() + ': '}}{% endif %}{# Render all images first #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{# Render all text next #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' '}}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)

EDGE, PATCH = 56, 14
PATCHES = (EDGE // PATCH) ** 2
GRIDS = [[EDGE, 2 * EDGE], [2 * EDGE, EDGE], [2 * EDGE, 2 * EDGE], [3 * EDGE, EDGE]]


BODIES = {"llava_next": "mistral", "llava": "llama"}
"""The language model that each is on unless another is asked for."""


def write(
    folder: Path,
    *,
    model_type: str = "llava_next",
    body: str = "",
    template: bool = True,
    seed: int = 1,
) -> Path:
    """A checkpoint of about 0.3 M parameters; without `template` as an old conversion.

    `body` is the type of its language model. What the published text parts on Llama leave
    out (Vicuna's) is left out here.
    """
    body = body or BODIES[model_type]
    tokenizer = llama_bpe({})
    vocabulary = tokenizer.get_vocab_size()
    tokenizer = llama_bpe({"<image>": vocabulary, "<pad>": vocabulary + 1})
    config = _config(model_type, tokenizer.token_to_id("<image>"), body)
    unsaid = ("num_key_value_heads", "rope_theta") if body == "llama" else ()
    said = {name: value for name, value in config["text_config"].items() if name not in unsaid}
    write_json(folder, "config.json", {**config, "text_config": said})
    write_json(folder, "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_processor(folder, model_type)
    if template:
        text = MISTRAL_TEMPLATE if body == "mistral" else VICUNA_TEMPLATE
        write_json(folder, "chat_template.json", {"chat_template": text})
    write_weights(folder, _model(model_type, config), seed, gain=1.5)
    return folder


def _config(model_type: str, image: int, body: str = "") -> dict[str, Any]:
    body = body or BODIES[model_type]
    next_only = {"image_grid_pinpoints": GRIDS, "use_image_newline_parameter": True}
    return {
        "model_type": model_type,
        "ignore_index": -100,
        "image_token_index": image,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "projector_hidden_act": "gelu",
        "vocab_size": image + 2,
        **(next_only if model_type == "llava_next" else {}),
        "text_config": {
            "model_type": body,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1 if body == "mistral" else 2,
            "rms_norm_eps": 1e-5,
            "rope_theta": 1000000.0 if body == "mistral" else 10_000.0,
            "vocab_size": image + 2,
            "max_position_embeddings": 32768,
        },
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": EDGE,
            "patch_size": PATCH,
            "projection_dim": 64,
        },
    }


def _write_processor(folder: Path, model_type: str) -> None:
    kind = {"llava_next": "LlavaNext", "llava": "Llava"}[model_type]
    image_processor = {"llava_next": "LlavaNextImageProcessor", "llava": "CLIPImageProcessor"}
    write_json(
        folder,
        "preprocessor_config.json",
        {
            "aspect_ratio_setting": "anyres",
            "crop_size": {"height": EDGE, "width": EDGE},
            "do_center_crop": True,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "image_processor_type": image_processor[model_type],
            "processor_class": f"{kind}Processor",
            "resample": 3,
            "rescale_factor": 1 / 255,
            "size": {"shortest_edge": EDGE},
            **({"image_grid_pinpoints": GRIDS} if model_type == "llava_next" else {}),
        },
    )
    write_json(
        folder,
        "processor_config.json",
        {
            "image_token": "<image>",
            "num_additional_image_tokens": 1,
            "patch_size": PATCH,
            "processor_class": f"{kind}Processor",
            "vision_feature_select_strategy": "default",
        },
    )
    write_json(
        folder,
        "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "legacy": False,
            "clean_up_tokenization_spaces": False,
            "processor_class": f"{kind}Processor",
            "tokenizer_class": "LlamaTokenizer",
            "model_max_length": 32768,
        },
    )


def _model(model_type: str, config: dict[str, Any]) -> Any:
    module = import_module(f"mlx_vlm.models.{model_type}")
    return module.Model(
        module.ModelConfig(
            model_type=model_type,
            image_token_index=config["image_token_index"],
            vocab_size=config["vocab_size"],
            text_config=module.TextConfig.from_dict(config["text_config"]),
            vision_config=module.VisionConfig.from_dict(config["vision_config"]),
        )
    )
