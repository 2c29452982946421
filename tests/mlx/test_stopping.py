"""No more is generated once an answer has come to a stop text."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from tests.mlx.builders import ask, picture
from vqa_engine.adapter import Answer, GenerationPlan
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.stopping import ended_by

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=12)


class Letters:
    """A tokenizer with a token for each letter."""

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(map(chr, ids))


def ended(text: str, stops: Sequence[str]) -> bool:
    return ended_by(Letters(), stops)([ord(letter) for letter in text])


def test_a_stop_text_ends_with_its_last_token() -> None:
    assert not ended("red. Qu", ["Q:", "Que"])
    assert ended("red. Que", ["Q:", "Que"])
    assert ended("word " * 99 + "Q:", ["Q:"])
    assert not ended("anything", [])


def test_white_space_in_front_of_an_answer_ends_nothing() -> None:
    assert not ended("\n re", ["\n"])
    assert ended("\n re\n", ["\n"])


def cut(adapter: MlxAdapter, whole: Answer) -> str:
    """A text from the middle of an answer, as the adapter's tokenizer writes it."""
    tokenizer = adapter._ready().tokenizer
    return str(tokenizer.decode(list(whole.token_ids[3:5]), skip_special_tokens=True)).strip()


def test_ids_end_where_the_text_does(smol: MlxAdapter) -> None:
    whole = smol.answer(ask(picture()), PLAN)
    stop = cut(smol, whole)
    assert stop
    said = smol.answer(ask(picture()), evolve(PLAN, stop=(stop,)))
    assert said.token_ids == whole.token_ids[: len(said.token_ids)]
    assert len(said.token_ids) <= 5 < len(whole.token_ids)
    assert said.finish_reason == "stop"


def test_questions_that_go_together_end_each_for_itself(smol: MlxAdapter) -> None:
    questions = [
        ask(picture(), text) for text in ("What colour?", "How many dogs?", "Is it a cat?")
    ]
    alone = [smol.answer(question, PLAN) for question in questions]
    plan = evolve(PLAN, stop=(cut(smol, alone[0]),))
    expected = [smol.answer(question, plan).token_ids for question in questions]
    together = smol.answer_batch(questions, plan, None)
    assert [one.token_ids for one in together if isinstance(one, Answer)] == expected
    assert len(expected[0]) < len(alone[0].token_ids)
