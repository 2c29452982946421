"""How questions are worded and how simulated people answer them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from vqa_engine.questions.shapes.asking import Ask

WORDINGS: Mapping[str, tuple[str, ...]] = {
    "colour of shape": ("What colour is the {a}?", "What color is the {a}?"),
    "shape of colour": ("What shape is the {a} object?", "What is the shape of the {a} object?"),
    "count all": ("How many objects are there?", "How many shapes are in the picture?"),
    "count shape": ("How many {a}s are there?", "How many {a}s are in the picture?"),
    "count colour": ("How many {a} objects are there?", "How many {a} shapes are in the picture?"),
    "exists pair": ("Is there a {a}?", "Is there a {a} in the picture?"),
    "exists shape": ("Is there a {a}?", "Is there a {a} in the picture?"),
    "exists colour": ("Is there a {a} object?", "Is there anything {a}?"),
    "is coloured": ("Is the {a} {b}?",),
    "left or right of": ("Is the {a} left or right of the {b}?",),
    "above or below": ("Is the {a} above or below the {b}?",),
    "left or right half": ("Is the {a} in the left or right half of the picture?",),
    "top or bottom half": ("Is the {a} in the top or bottom half of the picture?",),
}
"""The wordings the set uses, by the form of the question; {a} and {b} are what it asks about."""

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "gray": ("grey",),
    "purple": ("violet",),
    "black": ("dark",),
    "circle": ("ball", "round"),
    "square": ("box",),
    "cross": ("plus", "a cross"),
    "star": ("a star",),
    "triangle": ("a triangle",),
    "0": ("zero", "none"),
    "1": ("one",),
    "2": ("two",),
    "3": ("three",),
    "4": ("four",),
    "5": ("five",),
    "yes": ("Yes", "yeah"),
    "no": ("No", "nope"),
    "left": ("on the left", "Left"),
    "right": ("on the right", "Right"),
    "above": ("over",),
    "below": ("under", "beneath"),
    "top": ("upper",),
    "bottom": ("lower",),
}
"""Other honest answers a person might write down instead of the canonical one."""

_ANNOTATORS = 10
_MOST_DISSENTERS = 2


def word(ask: Ask, rng: random.Random, wordings: Mapping[str, tuple[str, ...]] = WORDINGS) -> str:
    """One of the form's wordings, filled in."""
    return rng.choice(wordings[ask.form]).format(a=ask.a, b=ask.b)


def annotate(answer: str, rng: random.Random) -> tuple[str, ...]:
    """Ten answers as VQA v2 has: at least eight canonical, the others synonyms.

    Eight of ten agreeing keeps the canonical answer at a full score however the metric treats
    the synonyms (three matching annotators are enough).
    """
    others = SYNONYMS.get(answer, ())
    dissenters = rng.randrange(_MOST_DISSENTERS + 1) if others else 0
    answers = [rng.choice(others) for _ in range(dissenters)]
    answers += [answer] * (_ANNOTATORS - dissenters)
    rng.shuffle(answers)
    return tuple(answers)
