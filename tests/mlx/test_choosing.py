"""Options scored by likelihood on MLX: the same behind a kept prefix, alone, and from the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from tests.mlx.builders import ADAPTERS, Checkpoints, ask, loaded, picture
from vqa_engine.adapter import ChoiceScorer, ChoiceScores, GenerationPlan
from vqa_engine.errors import AnswerError
from vqa_engine_adapters.mlx.driver import MlxAdapter

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(choose="likelihood-text")
CHOICES = ("red", "a kettle on the table", "7", "What?")
LETTERS = tuple("ABCDEFGHIJ")
QUESTION = ask(picture(), choices=CHOICES)


def passes(adapter: MlxAdapter, ask: Callable[[], object]) -> int:
    """How often the language model runs while something is asked."""
    count, kind = [0], type(adapter._ready().model.language_model)
    run = kind.__call__

    def counted(*arguments: Any, **named: Any) -> Any:
        count[0] += 1
        return run(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "__call__", counted)
        ask()
    return count[0]


def scores(adapter: MlxAdapter, plan: GenerationPlan = PLAN) -> tuple[float, ...]:
    assert isinstance(adapter, ChoiceScorer)
    scored, answer = (
        adapter.score_choices(QUESTION, CHOICES, plan),
        adapter.answer(QUESTION, GenerationPlan(max_tokens=1)),
    )
    assert scored.tokens is not None
    assert answer.tokens is not None
    counted = [(one.prompt, one.image) for one in (scored.tokens, answer.tokens)]
    assert counted[0] == counted[1]
    return scored.loglikelihoods


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["smolvlm", "llava_next", "llava", "phi3_v"])
def test_every_way_gives_the_same_scores(checkpoints: Checkpoints, kind: str) -> None:
    folder = checkpoints(kind, "float")
    with loaded(folder, ADAPTERS[kind]()) as adapter:
        together = scores(adapter)
        again = scores(adapter, evolve(PLAN, prefill_step=3, temperature=1.0))
    with loaded(folder, ADAPTERS[kind](), batch=False) as adapter:
        in_turn = scores(adapter)
    with loaded(folder, ADAPTERS[kind](), reuse=False) as adapter:
        from_start = scores(adapter)
    for other in (again, in_turn, from_start):
        assert other == pytest.approx(together, abs=1e-3)


@pytest.mark.slow
def test_options_are_one_batch_behind_the_kept_prefix(smol: MlxAdapter) -> None:
    """One pass for the rest of the prompt and one for the options, however many they are."""
    scores(smol)
    assert passes(smol, lambda: smol.score_choices(QUESTION, CHOICES, PLAN)) == 2
    assert passes(smol, lambda: smol.score_choices(QUESTION, LETTERS, PLAN)) == 2


OTHERS = (
    QUESTION,
    ask(QUESTION.image, "Who?", choices=("dog", "a large cat", "a large dog")),
    ask(QUESTION.image, "How many dogs are there, and where?", choices=("two", "twenty-two")),
)
"""Questions about one picture, of unequal length and with unequal options."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["smolvlm", "phi3_v"])
def test_questions_are_scored_together_as_alone(checkpoints: Checkpoints, kind: str) -> None:
    texts, letters = [one.choices for one in OTHERS], [LETTERS] * len(OTHERS)
    with loaded(checkpoints(kind, "float"), ADAPTERS[kind]()) as adapter:
        for plan, options in ((PLAN, texts), (evolve(PLAN, choose="likelihood"), letters)):
            assert adapter.batch_size(OTHERS, plan) == len(OTHERS)
            together = adapter.score_choices_batch(OTHERS, options, plan)
            for one, question, each in zip(together, OTHERS, options, strict=True):
                alone = adapter.score_choices(question, each, plan)
                assert isinstance(one, ChoiceScores)
                assert one.tokens == alone.tokens or one is together[0]
                assert one.loglikelihoods == pytest.approx(alone.loglikelihoods, abs=1e-3)


@pytest.mark.slow
def test_several_questions_are_two_passes_behind_the_kept_prefix(smol: MlxAdapter) -> None:
    scores(smol)
    options = [LETTERS] * len(OTHERS)
    assert passes(smol, lambda: smol.score_choices_batch(OTHERS, options, PLAN)) == 2


def test_a_question_without_scores_costs_the_others_nothing(smol: MlxAdapter) -> None:
    bad = ask(QUESTION.image, "Half of a pair: \ud800?", choices=CHOICES)
    first, second, third = smol.score_choices_batch((QUESTION, bad, QUESTION), [CHOICES] * 3, PLAN)
    assert isinstance(second, AnswerError)
    for one in (first, third):
        assert isinstance(one, ChoiceScores)
        assert one.loglikelihoods == pytest.approx(scores(smol), abs=1e-3)


def test_scoring_leaves_the_prefix_as_it_was(smol: MlxAdapter) -> None:
    plain = GenerationPlan(max_tokens=4)
    before, held = smol.answer(QUESTION, plain).token_ids, smol.cached_bytes()
    scores(smol)
    after = smol.answer(QUESTION, plain)
    assert after.token_ids == before
    assert after.tokens is not None
    assert after.tokens.reused > 0
    assert smol.cached_bytes() >= held


@pytest.mark.parametrize("kind", ["smolvlm", "llava"])
def test_a_batch_has_the_logprobs_of_one_by_one(checkpoints: Checkpoints, kind: str) -> None:
    plan = GenerationPlan(max_tokens=4, logprobs=True)
    asked = [ask(QUESTION.image, text) for text in ("Who?", "How many dogs are there?")]
    with loaded(checkpoints(kind, "float"), ADAPTERS[kind]()) as adapter:
        alone = [adapter.answer(one, plan).logprob for one in asked]
        together = [
            getattr(one, "logprob", None) for one in adapter.answer_batch(asked, plan, None)
        ]
    assert together == pytest.approx(alone, abs=1e-3)


def test_the_name_of_a_control_token_is_text_as_an_option(smol: MlxAdapter) -> None:
    def found(*options: str) -> object:
        return smol.score_choices(QUESTION, options, PLAN).loglikelihoods

    assert found("<end_of_utterance>", "red") == found("< end_of_utterance>", "red")
