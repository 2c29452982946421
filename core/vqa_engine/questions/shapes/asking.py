"""What is asked about a scene: the five kinds of question and their one true answer.

Each kind is balanced so that a guess without the picture stays far from right: the answer, or
what makes it, is drawn first, and the question is then fitted to it.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import attrs

from vqa_engine.questions.shapes.scenes import COLOURS, PICTURE_SIZE, SHAPES, Scene, Thing

CLEAR_DISTANCE = 16
"""Pixels that two centres must differ by along an axis before a question asks which is which."""


_HALVES_SHARE = 0.7


@attrs.frozen
class Ask:
    """One question before it is worded: its form, the words it is about, and the answer."""

    kind: str
    form: str
    a: str
    b: str
    answer: str


def _ask_colour(scene: Scene, rng: random.Random) -> Ask:
    """The colour of the only thing of its shape."""
    thing = rng.choice(_alone(scene.things, _shape))
    return Ask("colour", "colour of shape", thing.shape, "", thing.colour)


def _ask_shape(scene: Scene, rng: random.Random) -> Ask:
    """The shape of the only thing of its colour."""
    thing = rng.choice(_alone(scene.things, _colour))
    return Ask("shape", "shape of colour", thing.colour, "", thing.shape)


def ask_count(scene: Scene, rng: random.Random) -> Ask:
    """How many things there are, in all or of one shape or colour; the number is drawn first."""
    asks = [Ask("count", "count all", "", "", str(len(scene.things)))]
    asks += _counts(scene, "count shape", SHAPES, _shape)
    asks += _counts(scene, "count colour", tuple(COLOURS), _colour)
    answer = rng.choice(sorted({ask.answer for ask in asks}))
    return rng.choice([ask for ask in asks if ask.answer == answer])


def ask_yes_no(scene: Scene, rng: random.Random) -> Ask:
    """Whether something is there, or has a colour; yes and no are equally likely."""
    form = rng.choice(tuple(_YES_NO))
    answer = rng.choice(("yes", "no"))
    a, b = _YES_NO[form](scene, answer == "yes", rng)
    return Ask("yes/no", form, a, b, answer)


def _ask_position(scene: Scene, rng: random.Random) -> Ask:
    """In which half of the picture a thing lies, or on which side of another thing."""
    return (ask_half if rng.random() < _HALVES_SHARE else ask_relation)(scene, rng)


def ask_half(scene: Scene, rng: random.Random) -> Ask:
    """The half of the picture in which a thing lies. No cell straddles the middle."""
    return _any_form(list(_halves(scene)), rng)


def ask_relation(scene: Scene, rng: random.Random) -> Ask:
    """Where a thing lies against another; the half in which it lies if it is alone."""
    return _any_form(list(_relations(scene)) or list(_halves(scene)), rng)


KINDS: Mapping[str, Callable[[Scene, random.Random], Ask]] = {
    "colour": _ask_colour,
    "shape": _ask_shape,
    "count": ask_count,
    "yes/no": ask_yes_no,
    "position": _ask_position,
}
"""The kinds of question, in the order in which the set asks them."""


def ask_all(scene: Scene, rng: random.Random) -> list[Ask]:
    """One question of each kind about the scene, in the order of `KINDS`."""
    return [ask(scene, rng) for ask in KINDS.values()]


def _shape(thing: Thing) -> str:
    return thing.shape


def _colour(thing: Thing) -> str:
    return thing.colour


def _pair(thing: Thing) -> str:
    return f"{thing.colour} {thing.shape}"


def _alone(things: tuple[Thing, ...], name: Callable[[Thing], str]) -> list[Thing]:
    """The things whose name no other thing shares."""
    names = Counter(name(thing) for thing in things)
    return [thing for thing in things if names[name(thing)] == 1]


def _any_form(asks: list[Ask], rng: random.Random) -> Ask:
    """One of the questions, each form as likely as the others however many it has."""
    form = rng.choice(sorted({ask.form for ask in asks}))
    return rng.choice([ask for ask in asks if ask.form == form])


def _counts(
    scene: Scene, form: str, words: tuple[str, ...], name: Callable[[Thing], str]
) -> list[Ask]:
    counts = Counter(name(thing) for thing in scene.things)
    return [Ask("count", form, word, "", str(counts[word])) for word in words]


def _exists_pair(scene: Scene, truth: bool, rng: random.Random) -> tuple[str, str]:
    """A colour and a shape; for "no" half the time both are present, on different things."""
    present = sorted({_pair(thing) for thing in scene.things})
    if truth:
        return rng.choice(present), ""
    crossed = {f"{one.colour} {two.shape}" for one in scene.things for two in scene.things}
    absent = sorted(crossed.difference(present))
    if not absent or rng.randrange(2):
        everything = {f"{colour} {shape}" for colour in COLOURS for shape in SHAPES}
        absent = sorted(everything.difference(present))
    return rng.choice(absent), ""


def _exists_shape(scene: Scene, truth: bool, rng: random.Random) -> tuple[str, str]:
    present = {thing.shape for thing in scene.things}
    return rng.choice([shape for shape in SHAPES if (shape in present) == truth]), ""


def _exists_colour(scene: Scene, truth: bool, rng: random.Random) -> tuple[str, str]:
    present = {thing.colour for thing in scene.things}
    return rng.choice([colour for colour in COLOURS if (colour in present) == truth]), ""


def _is_coloured(scene: Scene, truth: bool, rng: random.Random) -> tuple[str, str]:
    """The only thing of its shape and its colour, or for "no" a colour of other things."""
    thing = rng.choice(_alone(scene.things, _shape))
    if truth:
        return thing.shape, thing.colour
    others = sorted({other.colour for other in scene.things} - {thing.colour})
    others = others or [colour for colour in COLOURS if colour != thing.colour]
    return thing.shape, rng.choice(others)


_YES_NO: Mapping[str, Callable[[Scene, bool, random.Random], tuple[str, str]]] = {
    "exists pair": _exists_pair,
    "exists shape": _exists_shape,
    "exists colour": _exists_colour,
    "is coloured": _is_coloured,
}


def _named(scene: Scene) -> list[tuple[str, Thing]]:
    """The things that can be named alone, by their shape where that is enough."""
    by_shape = _alone(scene.things, _shape)
    named = [(_shape(thing), thing) for thing in by_shape]
    others = [thing for thing in _alone(scene.things, _pair) if thing not in by_shape]
    return named + [(_pair(thing), thing) for thing in others]


def _relations(scene: Scene) -> Iterator[Ask]:
    """Every question about two clearly separated things that each have a name of their own."""
    for (a, one), (b, two) in itertools.permutations(_named(scene), 2):
        if abs(one.x - two.x) >= CLEAR_DISTANCE:
            side = "left" if one.x < two.x else "right"
            yield Ask("position", "left or right of", a, b, side)
        if abs(one.y - two.y) >= CLEAR_DISTANCE:
            level = "above" if one.y < two.y else "below"
            yield Ask("position", "above or below", a, b, level)


def _halves(scene: Scene) -> Iterator[Ask]:
    """Every question about the half of the picture in which a named thing lies."""
    middle = PICTURE_SIZE // 2
    for name, thing in _named(scene):
        side = "left" if thing.x < middle else "right"
        yield Ask("position", "left or right half", name, "", side)
        level = "top" if thing.y < middle else "bottom"
        yield Ask("position", "top or bottom half", name, "", level)
