"""A task through the engine: its own words reach the adapter, and too many pictures do not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.fakes import Instant, Looking
from tests.questions.tables.builders import picture
from vqa_engine import Engine
from vqa_engine.adapter import Answer, GenerationPlan, ModelFacts, ModelRef, Question
from vqa_engine.errors import ConfigurationError, QuestionSetError
from vqa_engine.questions import load_questions
from vqa_engine.questions.tasks import TaskSet, blinded, find, load_task
from vqa_engine.runs.comparing import Side, compare_runs
from vqa_engine.runs.rescoring import score_run
from vqa_engine.session.resident import Resident

CARD = """
task = "pets"
title = "Pets"
version = 1
[data]
files = ["pets.csv"]
[columns]
images = ["image", "second"]
question = "question"
answers = "answer"
[prompt]
text = "{question} Briefly."
[prompt.family.seven]
text = "{question} Seven words."
[score]
metrics = ["exact"]
"""


class Echo(Instant):
    """Answers with what it was asked, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[Question] = []

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        self.asked.append(question)
        return Answer(text=question.text, plan=plan)


class SevenEcho(Echo):
    images_per_question = 2


def pets(folder: Path, second: str = "") -> TaskSet:
    (folder / "a.png").write_bytes(picture())
    (folder / "pets.csv").write_text(f"image,second,question,answer\na.png,{second},Which?,cat\n")
    (folder / "pets.toml").write_text(CARD)
    return load_task(find.task(str(folder / "pets.toml")))


class Telling(Echo):
    """Runs models of any family, and can tell which, and how many images it takes."""

    def facts_of(self, model: ModelRef) -> ModelFacts:
        return ModelFacts(family="seven_b", images=2)


def test_a_model_gets_the_words_of_its_family_whatever_runs_it(tmp_path: Path) -> None:
    telling = Telling()
    with Engine(telling, isolation="inline") as engine:
        assert engine.family("telling") == "seven_b"
        engine.run(pets(tmp_path))
    assert [one.text for one in telling.asked] == ["Which? Seven words."]


@pytest.mark.slow
def test_an_adapter_gets_the_words_of_its_family(tmp_path: Path) -> None:
    plain, seven = Echo(), SevenEcho()
    with Engine([plain, seven], isolation="inline") as engine:
        result = engine.run(pets(tmp_path))
    assert [one.text for one in plain.asked] == ["Which? Briefly."]
    assert [one.text for one in seven.asked] == ["Which? Seven words."]
    assert all(one.worded and not one.answers for one in (*plain.asked, *seven.asked))
    assert [table.metric for table in result.scores["echo"]] == ["exact"]


def test_several_pictures_are_refused_before_a_model_that_takes_one_is_loaded(
    tmp_path: Path,
) -> None:
    plain, two = Echo(), SevenEcho()
    with Engine([plain, two], isolation="inline") as engine:
        result = engine.run(pets(tmp_path, "a.png"))
    assert "has questions with 2 images, and the adapter 'echo' handles 1" in str(
        result.errors["echo"]
    )
    assert not plain.asked
    assert len(two.asked[0].all_images) == 2
    with Engine(plain, isolation="inline") as engine, pytest.raises(ConfigurationError):
        engine.run(pets(tmp_path, "a.png"))


def test_a_blind_run_keeps_the_words(tmp_path: Path) -> None:
    seven = SevenEcho()
    with Engine(seven, isolation="inline") as engine:
        engine.run(blinded(pets(tmp_path)))
    (asked,) = seven.asked
    assert asked.text == "Which? Seven words."
    assert isinstance(asked.image, bytes)


def test_a_set_without_any_of_its_pictures_is_refused_before_a_model_is_loaded(
    tmp_path: Path,
) -> None:
    plain = Echo()
    (tmp_path / "a.csv").write_text("image,question\nno.png,Which?\n")
    with Engine(plain, isolation="inline") as engine, pytest.raises(QuestionSetError):
        engine.run(load_questions(tmp_path / "a.csv"))
    assert not plain.asked


def test_a_run_is_scored_again_by_its_tasks_metrics_with_their_figures(tmp_path: Path) -> None:
    pets(tmp_path)
    metrics = '["ocrbench-contains+points", "exact"]\nby = ["question_type"]'
    (tmp_path / "pets.toml").write_text(
        CARD.replace('["exact"]', metrics).replace(
            "answers =", 'question_type = "answer"\nanswers ='
        )
    )
    found = load_task(find.task(str(tmp_path / "pets.toml")))
    with Engine(Echo(), isolation="inline") as engine:
        engine.run(found, tmp_path / "run")
    rescored = score_run(tmp_path / "run")
    first, second = rescored.scores["echo"]
    assert (first.metric, second.metric) == ("ocrbench-contains", "exact")
    assert set(first.figures) == {"points", "question_type cat"}
    assert rescored.why == "the run was scored so"
    side = Side(tmp_path / "run")
    assert set(compare_runs(side, side).figures) == set(first.figures)


def test_an_open_file_is_an_image_and_isolation_has_two_kinds() -> None:
    looking = Looking()
    with Engine(looking, isolation="inline") as engine:
        assert engine.ask(io.BytesIO(picture(size=(9, 5))), "?").text == "9x5"
    with pytest.raises(ConfigurationError, match="must be one of process, inline"):
        Engine(looking, isolation="thread")  # type: ignore[arg-type]


def test_questions_with_too_many_pictures_fail_where_the_adapter_could_not_be_looked_at() -> None:
    two = Question(question_id=1, image=picture(), images=(picture(1),), text="?")
    with Engine(Looking(), isolation="inline") as engine:
        with pytest.raises(ConfigurationError, match="handles 1 per question"):
            engine.run([two])
        resident = Resident(Looking(), ModelRef())
        resident.load()
        exchange = resident.ask([two], 1, GenerationPlan(), lambda _begun: None)
        resident.release()
    (reply,) = exchange.replies
    assert reply.failure is not None
    assert "it has 2 images, and the adapter handles 1" in reply.failure.message
