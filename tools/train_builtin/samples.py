"""Training samples: a scene's pixels and its questions packed into one sequence.

The questions of a scene share the image's prefix. Each sees the prefix and itself, never its
neighbours, and its positions go on where the prefix ends, so that every question is computed
exactly as it will be when it is asked alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt
from PIL import Image
from tokenizers import Tokenizer

from tools.train_builtin import vocabulary
from tools.train_builtin.layout import IMAGE_SIZE
from tools.train_builtin.paraphrases import ALL_WORDINGS
from vqa_engine.questions.shapes.asking import Ask, ask_all, ask_half, ask_relation
from vqa_engine.questions.shapes.scenes import Scene, draw, sample_scene, scene_rng
from vqa_engine.questions.shapes.wording import WORDINGS, word

IGNORED = -100
"""Label of a position that takes no part in the loss; the value that torch's loss skips."""

PADDING = -1
"""Segment of positions after a sequence's end. The prefix is segment 0, questions follow."""

_OWN_WORDING = 0.6
_INSTRUCTED = 0.65


@attrs.frozen
class Packed:
    """One sequence: token ids, positions, segments and next-token labels, all of one length."""

    ids: list[int]
    positions: list[int]
    segments: list[int]
    labels: list[int]


@attrs.frozen
class Batch:
    """Scenes side by side: pixels (B, edge, edge, 3) uint8, the rest (B, length) int64."""

    pixels: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    segments: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]


class Sampler:
    """Makes the samples of one seed; sample k depends on the seed and k alone."""

    def __init__(self, tokenizer: Tokenizer, seed: int, image_tokens: int, school: int = 0):
        self._tokenizer = tokenizer
        self._seed = seed
        self._school = school
        self._prefix = self._encode(prompt_prefix(image_tokens))

    def batch(self, first: int, size: int) -> Batch:
        """The samples first … first + size - 1."""
        made = [self.sample(index) for index in range(first, first + size)]
        return collate([pixels for pixels, _ in made], [packed for _, packed in made])

    def sample(self, index: int) -> tuple[npt.NDArray[np.uint8], Packed]:
        """The pixels of scene `index` and the set's five questions; school adds one on places."""
        rng = scene_rng(self._seed, index)
        scene = self._scene(index, rng)
        asks = ask_all(scene, rng)
        if self._school:
            asks.append(rng.choice((ask_half, ask_relation))(scene, rng))
        return shrink(draw(scene)), self._pack([self._dialogue(ask, rng) for ask in asks])

    def _scene(self, index: int, rng: random.Random) -> Scene:
        """A scene as the set has them, or while at school one of few things, then of more."""
        if index >= self._school:
            return sample_scene(rng)
        return sample_scene(rng, fewest=1, most=1 + index * 5 // self._school)

    def _dialogue(self, ask: Ask, rng: random.Random) -> tuple[list[int], list[int]]:
        """Token ids of what the user says after the image, and of the answer."""
        wordings = WORDINGS if rng.random() < _OWN_WORDING else ALL_WORDINGS
        instruction = vocabulary.INSTRUCTION if rng.random() < _INSTRUCTED else ""
        question = prompt_suffix(word(ask, rng, wordings) + instruction)
        return self._encode(question), self._encode(f" {ask.answer}{vocabulary.END_OF_UTTERANCE}")

    def _pack(self, dialogues: list[tuple[list[int], list[int]]]) -> Packed:
        start = len(self._prefix)
        packed = Packed(list(self._prefix), list(range(start)), [0] * start, [IGNORED] * start)
        for segment, (question, answer) in enumerate(dialogues, 1):
            length = len(question) + len(answer) - 1
            packed.ids.extend(question + answer[:-1])
            packed.positions.extend(range(start, start + length))
            packed.segments.extend([segment] * length)
            packed.labels.extend([IGNORED] * (len(question) - 1) + answer)
        return packed

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids


def prompt_prefix(image_tokens: int) -> str:
    """What the chat template and the processor put before the user's words."""
    image = vocabulary.FAKE_IMAGE + vocabulary.GLOBAL_IMAGE + vocabulary.IMAGE * image_tokens
    return f"{vocabulary.START}User:{image}{vocabulary.FAKE_IMAGE}"


def prompt_suffix(text: str) -> str:
    """The user's words and what the chat template puts after them."""
    return f"{text}{vocabulary.END_OF_UTTERANCE}\nAssistant:"


def shrink(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """The picture as the processor resizes it: (edge, edge, 3) uint8."""
    small = picture.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.uint8)


def collate(pixels: Sequence[npt.NDArray[np.uint8]], packed: Sequence[Packed]) -> Batch:
    """Stack the samples, filling sequences up to the longest."""
    return Batch(
        pixels=np.stack(pixels),
        ids=_filled([one.ids for one in packed], 0),
        positions=_filled([one.positions for one in packed], 0),
        segments=_filled([one.segments for one in packed], PADDING),
        labels=_filled([one.labels for one in packed], IGNORED),
    )


def _filled(rows: list[list[int]], value: int) -> npt.NDArray[np.int64]:
    filled = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for row, target in zip(rows, filled, strict=True):
        target[: len(row)] = row
    return filled
