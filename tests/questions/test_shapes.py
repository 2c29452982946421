"""The built-in question set: what it promises about its scenes, questions and answers."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from collections import Counter

import pytest
from PIL import Image

from vqa_engine.questions.shapes import ShapesSet
from vqa_engine.questions.shapes.asking import (
    CLEAR_DISTANCE,
    KINDS,
    ask_count,
    ask_half,
    ask_relation,
    ask_yes_no,
)
from vqa_engine.questions.shapes.scenes import (
    COLOURS,
    PICTURE_SIZE,
    SHAPES,
    draw,
    sample_scene,
    scene_rng,
)
from vqa_engine.questions.shapes.wording import SYNONYMS
from vqa_engine.scoring import metric

MANY = ShapesSet(seed=3, count=1000)


def canonical(answers: tuple[str, ...]) -> str:
    """The answer that most annotators gave."""
    return Counter(answers).most_common(1)[0][0]


def test_a_longer_set_begins_with_the_shorter_one() -> None:
    assert list(ShapesSet(count=23)) == list(ShapesSet(count=40))[:23]


def test_a_set_can_be_iterated_again() -> None:
    shapes = ShapesSet(count=12)
    assert list(shapes) == list(shapes)
    assert len(list(shapes)) == len(shapes) == 12


def test_any_scene_can_be_reached_without_those_before_it() -> None:
    shapes = ShapesSet(seed=8, count=50)
    assert list(shapes.scene_questions(7)) == list(shapes)[35:40]
    assert len(list(shapes.scene_questions(10**9))) == len(KINDS)


def test_images_are_drawn_as_iteration_reaches_them() -> None:
    endless = ShapesSet(count=10**12)
    assert len(list(itertools.islice(endless, 6))) == 6


def test_each_scene_is_asked_one_question_of_each_kind_about_one_image() -> None:
    scene = list(ShapesSet(seed=1, count=15))[5:10]
    assert [question.question_type for question in scene] == list(KINDS)
    assert len({id(question.image) for question in scene}) == 1
    assert {question.image_id for question in scene} == {1}
    assert scene[0].origin == "shapes seed 1, scene 1"


def test_questions_have_the_fields_of_vqa_v2() -> None:
    questions = list(MANY)
    assert len({question.question_id for question in questions}) == len(questions)
    types = {question.question_type: question.answer_type for question in questions}
    assert types.pop("yes/no") == "yes/no"
    assert types.pop("count") == "number"
    assert set(types.values()) == {"other"}


def test_the_image_is_a_png_of_the_stated_size() -> None:
    data = next(iter(ShapesSet())).image
    assert isinstance(data, bytes)
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (PICTURE_SIZE, PICTURE_SIZE))


@pytest.mark.parametrize("name", ["vqa-v2-official", "vqa-v2-normalised"])
def test_the_canonical_answer_scores_full_marks(name: str) -> None:
    profile = metric(name)
    for question in MANY:
        answer = canonical(question.answers)
        assert profile.grade(answer, question).value == pytest.approx(1.0)


def test_ten_people_answer_and_at_most_two_use_a_synonym() -> None:
    dissent = Counter[int]()
    for question in MANY:
        answer = canonical(question.answers)
        others = [other for other in question.answers if other != answer]
        assert len(question.answers) == 10
        assert set(others) <= set(SYNONYMS.get(answer, ()))
        dissent[len(others)] += 1
    assert set(dissent) == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_is_answered_well_without_looking(kind: str) -> None:
    by_question: dict[tuple[str, str, str], Counter[str]] = {}
    for index in range(4000):
        rng = scene_rng(4, index)
        ask = KINDS[kind](sample_scene(rng), rng)
        by_question.setdefault((ask.form, ask.a, ask.b), Counter())[ask.answer] += 1
    frequent = [answers for answers in by_question.values() if answers.total() >= 20]
    guessed = sum(answers.most_common(1)[0][1] for answers in frequent)
    assert guessed / sum(answers.total() for answers in frequent) < 0.62


def test_pictures_show_what_the_scene_says() -> None:
    for index in range(50):
        scene = sample_scene(scene_rng(0, index))
        picture = draw(scene)
        for thing in scene.things:
            assert picture.getpixel((thing.x, thing.y)) == thing.paint
            assert nearest_colour(thing.paint) == thing.colour
        assert picture.getpixel((0, 0)) == scene.background


def nearest_colour(paint: tuple[int, int, int]) -> str:
    """The named colour closest to the paint."""

    def distance(name: str) -> int:
        return sum((one - two) ** 2 for one, two in zip(paint, COLOURS[name], strict=True))

    return min(COLOURS, key=distance)


def test_counts_and_existence_are_true_of_the_scene() -> None:
    for index in range(200):
        rng = scene_rng(1, index)
        scene = sample_scene(rng)
        words = [word for thing in scene.things for word in (thing.shape, thing.colour)]
        count, exists = ask_count(scene, rng), ask_yes_no(scene, rng)
        expected = len(scene.things) if count.form == "count all" else words.count(count.a)
        assert count.answer == str(expected)
        if exists.form in {"exists shape", "exists colour"}:
            assert exists.answer == ("yes" if exists.a in words else "no")


def test_relations_are_true_of_clearly_separated_things() -> None:
    for index in range(200):
        rng = scene_rng(2, index)
        scene = sample_scene(rng)
        ask = ask_relation(scene, rng)
        names = {f"{thing.colour} {thing.shape}": thing for thing in scene.things}
        names |= {thing.shape: thing for thing in scene.things}
        one, two = names[ask.a], names[ask.b]
        offset = {"left": two.x - one.x, "right": one.x - two.x}
        offset |= {"above": two.y - one.y, "below": one.y - two.y}
        assert offset[ask.answer] >= CLEAR_DISTANCE


def test_halves_are_true_of_things_clear_of_the_middle() -> None:
    for index in range(200):
        rng = scene_rng(6, index)
        scene = sample_scene(rng)
        ask = ask_half(scene, rng)
        names = {f"{thing.colour} {thing.shape}": thing for thing in scene.things}
        names |= {thing.shape: thing for thing in scene.things}
        x, y = (value - PICTURE_SIZE // 2 for value in (names[ask.a].x, names[ask.a].y))
        assert {"left": -x, "right": x, "top": -y, "bottom": y}[ask.answer] >= 12


def test_every_shape_and_colour_turns_up() -> None:
    things = [thing for k in range(60) for thing in sample_scene(scene_rng(5, k)).things]
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {thing.colour for thing in things} == set(COLOURS)


def test_the_digest_tells_seeds_and_counts_apart() -> None:
    sets = [ShapesSet(), ShapesSet(seed=1), ShapesSet(count=3)]
    assert len({shapes.digest() for shapes in sets}) == 3
    assert ShapesSet().digest() == ShapesSet(seed=0, count=200).digest()


def test_another_seed_draws_other_scenes() -> None:
    first, second = (next(iter(ShapesSet(seed=seed))) for seed in (0, 1))
    assert first.image != second.image


def test_drawing_needs_no_model_library() -> None:
    code = (
        "import sys; from vqa_engine.questions.shapes import ShapesSet; list(ShapesSet(count=5));"
        "assert not {'numpy', 'torch', 'mlx', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
