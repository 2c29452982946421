"""`ShapesSet`: the scenes and their questions as a question set with VQA v2's fields."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterable, Iterator
from itertools import groupby

import attrs

from vqa_engine.adapter import Question
from vqa_engine.questions.shapes.asking import KINDS, Ask, ask_all
from vqa_engine.questions.shapes.scenes import (
    DRAWING_VERSION,
    Scene,
    draw,
    sample_scene,
    scene_rng,
)
from vqa_engine.questions.shapes.wording import annotate, word

_QUESTIONS_PER_SCENE = len(KINDS)

_ANSWER_TYPES = {"yes/no": "yes/no", "count": "number"}


@attrs.frozen
class ShapesSet:
    """Questions about drawn scenes, five to a scene, one of each kind.

    Scene k depends on the seed and k alone, so a longer set begins with the shorter one, and
    the last scene costs no more to reach than the first. Iterating draws each picture when its
    first question is asked for; the questions of a scene share one PNG.
    """

    seed: int = 0
    count: int = attrs.field(default=200, validator=attrs.validators.ge(0))
    """Number of questions."""

    @property
    def name(self) -> str:
        """`shapes`, by which the set is asked for."""
        return "shapes"

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Question]:
        return self.at(range(self.count))

    def at(self, places: Iterable[int]) -> Iterator[Question]:
        """The questions at these places (from 0), in the order given.

        A scene is drawn once for as long as its questions follow each other.
        """
        scenes = groupby(places, lambda place: place // _QUESTIONS_PER_SCENE)
        for scene, wanted in scenes:
            questions = tuple(self.scene_questions(scene))
            yield from (questions[place % _QUESTIONS_PER_SCENE] for place in wanted)

    def digest(self) -> str:
        """SHA-256 over what determines the content: seed, count and drawing version."""
        content = f"shapes drawing={DRAWING_VERSION} seed={self.seed} count={self.count}"
        return hashlib.sha256(content.encode()).hexdigest()

    def scene_questions(self, index: int) -> Iterator[Question]:
        """The five questions of scene `index`, without making the scenes before it."""
        rng = scene_rng(self.seed, index)
        scene = sample_scene(rng)
        image = _png(scene)
        for number, ask in enumerate(ask_all(scene, rng)):
            yield self._question(index, number, image, ask, rng)

    def _question(
        self, index: int, number: int, image: bytes, ask: Ask, rng: random.Random
    ) -> Question:
        return Question(
            question_id=index * _QUESTIONS_PER_SCENE + number,
            image=image,
            text=word(ask, rng),
            answers=annotate(ask.answer, rng),
            image_id=index,
            question_type=ask.kind,
            answer_type=_ANSWER_TYPES.get(ask.kind, "other"),
            origin=f"shapes seed {self.seed}, scene {index}",
        )


def _png(scene: Scene) -> bytes:
    buffer = io.BytesIO()
    draw(scene).save(buffer, format="PNG")
    return buffer.getvalue()
