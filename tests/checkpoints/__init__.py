"""Tiny checkpoints of real architectures, made by code and laid out as the hub has them.

Every module has one `write(folder, ...)`. The weights are random, scaled so that greedy
decoding neither repeats one token nor ignores the image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TEXT = (
    "What is the colour of this kettle cat dog how many are there yes no red blue green "
    "white black two three left right answer question image a Give very brief word phrase "
    "Answer the question using single or with option letter from given choices directly"
)
WORDS = TEXT.split()


def write_json(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    """One configuration file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content, indent=2), encoding="utf-8")


def write_weights(folder: Path, model: Any, seed: int, gain: float = 1.0) -> None:
    """Random weights for an mlx-vlm model, under the names and with the metadata of its own."""
    import mlx.core as mx
    from mlx.utils import tree_flatten, tree_unflatten
    from mlx_vlm.utils import save_weights

    mx.random.seed(seed)
    drawn = [(name, _draw(name, array, gain)) for name, array in tree_flatten(model.parameters())]
    model.update(tree_unflatten(drawn))
    save_weights(folder, model)


def _draw(name: str, array: Any, gain: float) -> Any:
    """Norms about one, biases small, matrices scaled by fan-in, embeddings of unit size."""
    import mlx.core as mx

    noise = mx.random.normal(array.shape)
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.2 * noise
    if array.ndim < 2:
        return 0.1 * noise
    if "embed" in name:
        return noise
    fan_in = array.size // array.shape[0]
    return noise * (gain / fan_in**0.5)


def quantised(folder: Path, target: Path, dtype: str) -> Path:
    """The 4-bit version of a checkpoint, made by mlx-vlm's own converter.

    `dtype` is that of the scales and of what is not quantised: float16 on the hub,
    float32 to be five times faster on MLX's CPU backend.
    """
    from mlx_vlm import convert

    convert(
        hf_path=str(folder),
        mlx_path=str(target),
        quantize=True,
        q_bits=4,
        q_group_size=64,
        dtype=dtype,
    )
    return target


def byte_level_bpe(specials: Iterable[str], words: Iterable[str] = WORDS) -> Any:
    """A byte-level BPE tokenizer, as SmolLM2's; `specials` come first, in order."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    specials = list(specials)
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary, merges = _merged([*specials, *symbols], ("Ġ" + word for word in words))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(special, special=True, normalized=False) for special in specials]
    )
    return tokenizer


def llama_bpe(extra: Mapping[str, int], words: Iterable[str] = WORDS) -> Any:
    """A BPE tokenizer with byte fallback, as Llama's; `extra` special tokens get the ids given.

    Ids between the words and the first extra are filled with tokens that no text makes.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = sorted({letter for word in words for letter in word} | set("▁\n?.,:;'\"[]/"))
    vocabulary, merges = _merged([*specials, *letters], ("▁" + word for word in words))
    for index in range(len(vocabulary), min(extra.values(), default=0)):
        vocabulary[f"filler{index}"] = index
    names = {index: name for name, index in extra.items()}
    for index in range(len(vocabulary), max(extra.values(), default=-1) + 1):
        vocabulary[names.get(index, f"<|placeholder{index}|>")] = index
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens(
        [
            AddedToken(name, special=True, normalized=False)
            for name in ("<unk>", "<s>", "</s>", *extra)
        ]
    )
    return tokenizer


def _merged(
    symbols: Iterable[str], words: Iterable[str]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary in which each word is one token, with the merges that build it."""
    vocabulary = {symbol: index for index, symbol in enumerate(dict.fromkeys(symbols))}
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        for end in range(1, len(word)):
            merges[(word[:end], word[end])] = None
            vocabulary.setdefault(word[: end + 1], len(vocabulary))
    return vocabulary, list(merges)
