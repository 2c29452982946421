"""Further wordings that training mixes in, so that a person's own phrasing has a chance."""

from __future__ import annotations

from collections.abc import Mapping

from vqa_engine.questions.shapes.wording import WORDINGS

_COLOUR_NOUNS = ("colour", "color")

PARAPHRASES: Mapping[str, tuple[str, ...]] = {
    "colour of shape": tuple(
        text.replace("colour", noun)
        for noun in _COLOUR_NOUNS
        for text in (
            "Which colour is the {a}?",
            "What is the colour of the {a}?",
            "what colour is the {a}",
            "The {a} is what colour?",
        )
    ),
    "shape of colour": (
        "What is the {a} object?",
        "What is {a}?",
        "What is the {a} thing?",
        "Which shape is {a}?",
        "Which object is {a}?",
        "what shape is the {a} one",
    ),
    "count all": (
        "How many objects are in the picture?",
        "How many objects are in the image?",
        "How many shapes are there?",
        "How many things are there?",
        "how many objects",
    ),
    "count shape": (
        "How many {a}s are in the image?",
        "How many {a}s do you see?",
        "how many {a}s",
    ),
    "count colour": (
        "How many {a} objects are in the image?",
        "How many {a} shapes are there?",
        "How many {a} things are there?",
        "how many objects are {a}",
    ),
    "exists pair": ("Is there a {a} in the image?", "Do you see a {a}?", "is there a {a}"),
    "exists shape": ("Is there a {a} in the image?", "Do you see a {a}?", "Are there any {a}s?"),
    "exists colour": (
        "Is there a {a} object in the image?",
        "Is anything {a}?",
        "Are there any {a} objects?",
    ),
    "is coloured": ("Is the {a} of {b} colour?", "Is the {a} of {b} color?", "is the {a} {b}"),
    "left or right of": (
        "Is the {a} to the left or to the right of the {b}?",
        "On which side of the {b} is the {a}?",
    ),
    "above or below": (
        "is the {a} above or below the {b}",
        "Is the {a} higher or lower than the {b}, above or below?",
    ),
    "left or right half": (
        "Is the {a} on the left or on the right?",
        "Is the {a} on the left or right side of the image?",
    ),
    "top or bottom half": (
        "Is the {a} at the top or at the bottom?",
        "Is the {a} at the top or bottom of the image?",
    ),
}

ALL_WORDINGS: Mapping[str, tuple[str, ...]] = {
    form: WORDINGS[form] + PARAPHRASES[form] for form in WORDINGS
}
