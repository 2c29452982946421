"""Tiny checkpoints whose weights transformers wrote; mlx-vlm loads them as well.

Runs inside the torch process. The configurations are those of `tests.checkpoints`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.checkpoints import byte_level_bpe, further, llama_bpe, llava, smolvlm, write_json

FURTHER = ("gemma3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl")

MOONDREAM = """
import torch
from transformers import PretrainedConfig, PreTrainedModel

CROP, POSITIONS, WORDS = 8, 9, 64


class TinyConfig(PretrainedConfig):
    model_type = "tiny_moondream"


class Encoded:
    def __init__(self, colour, device):
        self.colour, self.pos = colour, 1 + POSITIONS
        keys, values = torch.zeros(2, 1, 2, 3, 4, device=device).unbind()
        self.caches = [(keys, values)]


class Words:
    "A tokenizer of whole words; those that it has not met get the next number."

    def __init__(self):
        self.known = ["<bos>", "<ask>", "<answer>"]

    def encode(self, text):
        for word in text.split(" "):
            if word not in self.known:
                self.known.append(word)
        return [self.known.index(word) for word in text.split(" ")]

    def decode(self, ids, skip_special_tokens=True):
        words = [self.known[n] for n in ids if n > 2 or not skip_special_tokens]
        return " ".join(words)


class Inner(torch.nn.Module):
    "Repeats the picture's colour and the question, one word at a time."

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.empty(1))
        self.tokenizer = Words()
        self.config = type("Config", (), {"tokenizer": type("Ids", (), {"bos_id": 0})})

    def _vis_enc(self, crops):
        return crops.mean((0, 2, 3))

    def encode_image(self, image):
        wide, high = (max(1, side // CROP) for side in image.size)
        colour = torch.tensor(image.resize((1, 1)).getpixel((0, 0)), dtype=torch.float32)
        crops = colour[None, :, None, None].expand(1 + wide * high, 3, CROP, CROP)
        red, green, blue = self._vis_enc(crops).int().tolist()
        return Encoded(f"#{red:02x}{green:02x}{blue:02x}", self.scale.device)

    def _prefill_prompt(self, ids, pos, temperature, top_p):
        logits = torch.nn.functional.one_hot(torch.tensor([self.answer[0]]), WORDS).float()
        return logits, None, torch.tensor([[self.answer[0]]]), pos + ids.shape[1]

    def _decode_one_tok(self, place):
        return self.answer[place] if place < len(self.answer) else 0

    def query(self, image, question, stream=False, settings=None):
        self.answer = self.tokenizer.encode(f"{image.colour} {question}")
        ids = torch.tensor([[1, *self.tokenizer.encode(question), 2]])
        _, _, token, _ = self._prefill_prompt(ids, image.pos, settings["temperature"], 0.3)
        parts = self._parts(token.item(), settings["max_tokens"])
        return {"answer": parts if stream else "".join(parts)}

    def _parts(self, token, most):
        "Holds each word back until the next one begins, as moondream2 does."
        said = []
        while token and len(said) < most:
            if said:
                yield said[-1] + " "
            said.append(self.tokenizer.decode([token]))
            token = self._decode_one_tok(len(said))
        yield said[-1]


class TinyMoondream(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("table", torch.arange(3.0), persistent=False)
        self.model = Inner()

    def encode_image(self, image):
        return self.model.encode_image(image)

    def query(self, *given, **named):
        assert self.table.tolist() == [0.0, 1.0, 2.0] and self.model.scale.item() == 1.0
        return self.model.query(*given, **named)
"""
"""A model whose code comes with it, with the methods of moondream2 that matter here.

Like that one it never calls `post_init`, has a buffer that no file holds, gives an image
positions but no tokens, and computes the next token before it sees whether that is the last.
"""


def write(folder: Path, kind: str, seed: int = 0) -> Path:
    """The checkpoint of this kind; made once."""
    if not folder.exists():
        writers: dict[str, Callable[[Path, int], None]] = {
            "idefics3": _idefics3,
            "idefics3_27": _idefics3_27,
            "smolvlm": _smolvlm,
            "llava": _llava,
            "llava_next": _llava_next,
            "llava_next_vicuna": _llava_next_vicuna,
            "idefics2": _idefics2,
            "pixtral": _pixtral,
            "moondream2": _moondream,
            **{kind: partial(_further, kind=kind) for kind in (*FURTHER, "internvl")},
        }
        writers[kind](folder, seed)
    return folder


def _idefics3(folder: Path, seed: int) -> None:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    config = smol_files(folder, "idefics3")
    _save(folder, Idefics3ForConditionalGeneration(Idefics3Config(**config)), seed)


def _idefics3_27(folder: Path, seed: int) -> None:
    """Tiles of 27x27 patches, as those of SmolVLM-Instruct; five of them at most."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    config = smol_files(folder, "idefics3", smolvlm.TILE_27, 3)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings["size"] = {"longest_edge": 2 * smolvlm.TILE_27}
    write_json(folder, "preprocessor_config.json", settings)
    _save(folder, Idefics3ForConditionalGeneration(Idefics3Config(**config)), seed)


def _smolvlm(folder: Path, seed: int) -> None:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    config = smol_files(folder, "smolvlm")
    _save(folder, SmolVLMForConditionalGeneration(SmolVLMConfig(**config)), seed)


def smol_files(
    folder: Path, kind: str, tile: int = smolvlm.TILE, scale: int = smolvlm.SCALE
) -> dict[str, Any]:
    """Everything but the weights of an Idefics3 or SmolVLM; the configuration."""
    tokenizer = byte_level_bpe(smolvlm.SPECIALS)
    config = smolvlm._config(kind, tokenizer.get_vocab_size(), tile, scale)
    # mlx-vlm leaves the last norm's epsilon at 1e-5 and knows the rotary base as `rope_theta`.
    config["vision_config"] |= {"layer_norm_eps": 1e-5, "hidden_act": "gelu_pytorch_tanh"}
    config["text_config"]["rope_parameters"] = {"rope_type": "default", "rope_theta": 100000}
    write_json(folder, "config.json", config)
    write_json(folder, "generation_config.json", {"bos_token_id": 1, "eos_token_id": 5})
    tokenizer.save(str(folder / "tokenizer.json"))
    smolvlm._write_processor(folder, kind, tile, scale)
    return config


def _llava(folder: Path, seed: int) -> None:
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = _llava_files(folder, "llava")
    _save(folder, LlavaForConditionalGeneration(LlavaConfig(**config)), seed, _published)


def _llava_next(folder: Path, seed: int) -> None:
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

    config = _llava_files(folder, "llava_next")
    model = LlavaNextForConditionalGeneration(LlavaNextConfig(**config))
    _save(folder, model, seed, _published)


def _llava_next_vicuna(folder: Path, seed: int) -> None:
    """On Vicuna, whose published text part says nothing of key-value heads and rotary base."""
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

    config = _llava_files(folder, "llava_next")
    text = config["text_config"]
    text["model_type"] = "llama"
    for unsaid in ("num_key_value_heads", "rope_theta"):
        del text[unsaid]
    write_json(folder, "config.json", config)
    model = LlavaNextForConditionalGeneration(LlavaNextConfig(**config))
    _save(folder, model, seed, _published)


def _llava_files(folder: Path, kind: str) -> dict[str, Any]:
    size = llama_bpe({}).get_vocab_size()
    tokenizer = llama_bpe({"<image>": size, "<pad>": size + 1})
    config = llava._config(kind, tokenizer.token_to_id("<image>"))
    write_json(folder, "config.json", config)
    write_json(folder, "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    tokenizer.save(str(folder / "tokenizer.json"))
    llava._write_processor(folder, kind)
    template = llava.MISTRAL_TEMPLATE if kind == "llava_next" else llava.VICUNA_TEMPLATE
    write_json(folder, "chat_template.json", {"chat_template": template})
    return config


def _idefics2(folder: Path, seed: int) -> None:
    """A model with a resampler, which only `generate` is trusted with."""
    from transformers import Idefics2Config, Idefics2ForConditionalGeneration

    tokenizer = byte_level_bpe(smolvlm.SPECIALS)
    plain = smolvlm._config("idefics3", tokenizer.get_vocab_size())
    text = plain["text_config"] | {"model_type": "mistral"}
    config = {
        **{key: plain[key] for key in ("image_token_id", "pad_token_id", "tie_word_embeddings")},
        "model_type": "idefics2",
        "text_config": text,
        "vision_config": plain["vision_config"] | {"model_type": "idefics2_vision"},
        "perceiver_config": {
            "model_type": "idefics2_perceiver",
            "hidden_size": 64,
            "resampler_n_latents": 4,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 32,
            "num_key_value_heads": 1,
        },
    }
    write_json(folder, "config.json", config)
    tokenizer.save(str(folder / "tokenizer.json"))
    smolvlm._write_processor(folder, "idefics3", smolvlm.TILE)
    _rename_processor(folder)
    _save(folder, Idefics2ForConditionalGeneration(Idefics2Config(**config)), seed)


def _pixtral(folder: Path, seed: int) -> None:
    """A checkpoint whose processor wants torchvision; nobody gets as far as its weights."""
    _llava(folder, seed)
    _rename(folder, "LlavaProcessor", "PixtralProcessor")


def _further(folder: Path, seed: int, kind: str) -> None:
    """A family without an adapter of its own, its tensors named as on the hub."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoModelForImageTextToText

    further.files(folder, kind)
    named = _gemmas if kind == "gemma3" else str
    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    _draw(model, seed)
    with TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        tensors = load_file(Path(saved, "model.safetensors"))
    known = {named(name): tensor for name, tensor in tensors.items() if named(name)}
    if kind == "gemma3":
        known["language_model.model.embed_tokens.weight"] *= 0.1  # it multiplies them by 8
    save_file(known, folder / "model.safetensors", metadata={"format": "pt"})


def _gemmas(name: str) -> str:
    """What the hub's Gemma 3 calls a tensor, empty for those that it has not."""
    if name.startswith("vision_tower.head."):
        return ""
    return name.replace("vision_tower.", "vision_tower.vision_model.")


def _rename(folder: Path, old: str, new: str) -> None:
    for file in folder.glob("*_config.json"):
        file.write_text(file.read_text().replace(old, new))


def _rename_processor(folder: Path) -> None:
    _rename(folder, "Idefics3", "Idefics2")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings |= {"size": {"longest_edge": 64, "shortest_edge": 32}, "do_image_splitting": False}
    settings.pop("max_image_size")
    write_json(folder, "preprocessor_config.json", settings)


def _moondream(folder: Path, seed: int) -> None:
    import torch
    from safetensors.torch import save_file

    auto = {"AutoConfig": "tiny.TinyConfig", "AutoModelForCausalLM": "tiny.TinyMoondream"}
    write_json(folder, "config.json", {"model_type": "tiny_moondream", "auto_map": auto})
    (folder / "tiny.py").write_text(MOONDREAM)
    save_file(
        {"model.scale": torch.ones(1)}, folder / "model.safetensors", metadata={"format": "pt"}
    )


def _save(
    folder: Path, model: Any, seed: int, named: Callable[[str], str] = lambda name: name
) -> None:
    from safetensors.torch import save_file

    _draw(model, seed)
    tensors = {named(name): part.contiguous() for name, part in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _draw(model: Any, seed: int) -> None:
    """Random weights that neither repeat one token nor ignore the image."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(_drawn(name, parameter, draw))


_PUBLISHED = (
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.vision_tower.", "vision_tower.vision_model."),
    ("model.", ""),
)


def _published(name: str) -> str:
    """What the hub's LLaVAs call a tensor; transformers 5 has other names inside."""
    for ours, theirs in _PUBLISHED:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _drawn(name: str, parameter: Any, draw: Any) -> Any:
    """Norms about one, biases small, matrices scaled by fan-in, embeddings of unit size."""
    import torch

    noise = torch.randn(parameter.shape, generator=draw)
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.2 * noise
    if parameter.ndim < 2:
        return 0.1 * noise
    if "embed" in name:
        return noise
    return noise * 1.5 / (parameter.numel() // parameter.shape[0]) ** 0.5
