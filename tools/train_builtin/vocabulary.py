"""The tokenizer: byte-level BPE, so that it covers any text, with SmolVLM's special tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from tools.train_builtin.paraphrases import ALL_WORDINGS
from vqa_engine.questions.shapes.scenes import COLOURS, SHAPES
from vqa_engine.questions.shapes.wording import SYNONYMS

UNKNOWN = "<|endoftext|>"
START = "<|im_start|>"
PAD = "<|im_end|>"
FAKE_IMAGE = "<fake_token_around_image>"
IMAGE = "<image>"
END_OF_UTTERANCE = "<end_of_utterance>"
GLOBAL_IMAGE = "<global-img>"
SPECIAL_TOKENS = (UNKNOWN, START, PAD, FAKE_IMAGE, IMAGE, END_OF_UTTERANCE, GLOBAL_IMAGE)

INSTRUCTION = "\nGive a very brief answer."
"""What the smolvlm adapter appends to each question; training sees most questions with it."""

LARGEST_VOCABULARY = 512
"""Bound on the tokens: 7 special, 256 bytes, and the merges that make each word of the set one
token, which the corpus exhausts before the bound."""

_FRAME = ("User:", "\nAssistant:", INSTRUCTION)


def build_tokenizer() -> Tokenizer:
    """Train the BPE on every wording and answer of the set."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=LARGEST_VOCABULARY,
        special_tokens=[AddedToken(token, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def corpus() -> Iterator[str]:
    """Every wording filled with every word it may be about, and every answer."""
    for text in itertools.chain.from_iterable(ALL_WORDINGS.values()):
        for colour, shape in itertools.product(COLOURS, SHAPES):
            yield text.format(a=f"{colour} {shape}", b=f"{colour} {shape}")
    for answer in itertools.chain(COLOURS, SHAPES, SYNONYMS):
        yield f" {answer}"
    yield from _FRAME
