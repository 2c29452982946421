"""Options scored by likelihood: as a plain forward pass of transformers scores them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from attrs import evolve

from tests.asking import reply_to
from tests.mlx.builders import ask, picture, turned
from tests.torch import inside
from tests.torch.conftest import Folder
from tests.torch.inside import Failed, Remote
from tests.torch.test_torch_adapters import TARGETS
from vqa_engine.adapter import Answer, GenerationPlan, ModelRef, Question
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import WorkerSession

CHOICES = ("red", "a kettle on the table", "7", "What?", *(f"number {n}" for n in range(6)))
QUESTION = ask(picture(), choices=CHOICES)
TEXTS = GenerationPlan(choose="likelihood-text")
LETTERS = GenerationPlan(choose="likelihood")
NEAR = 1e-3
"""Of a log-likelihood: both compute in float32, and add in another order."""


def plain(remote: Remote, options: Sequence[str]) -> Any:
    found = remote.pool.submit(inside.likelihoods, remote.target, QUESTION, tuple(options)).result()
    return pytest.approx(found, abs=NEAR)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["idefics3", "llava", "idefics2"])
def test_torch_scores_as_a_plain_forward_pass(
    process: ProcessPoolExecutor, folder: Folder, kind: str
) -> None:
    remote = Remote(process, TARGETS[kind])
    assert remote.load(folder(kind)) is None
    try:
        expected = plain(remote, CHOICES)
        for plan in (TEXTS, evolve(TEXTS, prefill_step=3)):
            scored = remote.call("score_choices", QUESTION, CHOICES, plan)
            assert not isinstance(scored, Failed), scored
            assert list(scored.loglikelihoods) == expected
        answer = remote.call("answer", QUESTION, GenerationPlan(max_tokens=4, logprobs=True))
        assert isinstance(answer, Answer)
        assert answer.logprob is not None
        assert answer.logprob < 0
    finally:
        remote.call("release")


OTHERS = (
    QUESTION,
    ask(QUESTION.image, "Who?", choices=("dog", "a large cat")),
    ask(turned(), "How many dogs are there?", choices=("two", "twenty-two", "2")),
)
"""Two questions about one picture and one about another, with unequal options."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["idefics3", "llava", "idefics2"])
@pytest.mark.parametrize("plan", [LETTERS, TEXTS], ids=["letters", "texts"])
def test_questions_are_scored_together_as_alone(
    process: ProcessPoolExecutor, folder: Folder, kind: str, plan: GenerationPlan
) -> None:
    remote = Remote(process, TARGETS[kind])
    assert remote.load(folder(kind)) is None
    options = [one.choices if plan is TEXTS else tuple("ABCDEFGHIJ") for one in OTHERS]
    try:
        together = remote.call("score_choices_batch", OTHERS, options, plan)
        alone = [
            remote.call("score_choices", *pair, plan) for pair in zip(OTHERS, options, strict=True)
        ]
    finally:
        remote.call("release")
    for one, other in zip(together, alone, strict=True):
        assert one.loglikelihoods == pytest.approx(other.loglikelihoods, abs=NEAR)
        assert (one.tokens.prompt, one.tokens.completion) == (other.tokens.prompt, 0)


@pytest.mark.slow
def test_options_are_one_batch_behind_the_kept_prefix(smol: Remote) -> None:
    def passes(method: str, *arguments: Any) -> int:
        return smol.pool.submit(inside.passes, smol.target, method, *arguments).result()

    smol.call("drop_caches")
    pictures_then_options, options_alone = 2, 1
    for plan in (TEXTS, LETTERS):
        assert passes("score_choices_batch", OTHERS, [CHOICES] * 3, plan) == pictures_then_options
        assert passes("score_choices", QUESTION, CHOICES, plan) == options_alone
        smol.call("drop_caches")


@pytest.fixture(scope="module", params=["smolvlm", "smolvlm_torch"])
def worker(request: pytest.FixtureRequest, folder: Folder) -> Iterator[WorkerSession]:
    """The same checkpoint in a worker, on MLX and on torch."""
    options = {} if request.param == "smolvlm" else {"device": "cpu", "dtype": "float32"}
    model = ModelRef(model=str(folder("idefics3")), options=options)
    session = WorkerSession(AdapterSpec(name=request.param, model=model))
    session.load()
    yield session
    session.release()


def said(session: WorkerSession, question: Question, plan: GenerationPlan) -> Answer:
    reply = reply_to(session, question, plan)
    assert reply.answer is not None, reply.failure
    return reply.answer


@pytest.mark.slow
def test_a_worker_scores_as_a_plain_forward_pass(smol: Remote, worker: WorkerSession) -> None:
    for plan, options in ((LETTERS, "ABCDEFGHIJ"), (TEXTS, CHOICES)):
        answer = said(worker, QUESTION, plan)
        assert list(answer.loglikelihoods) == plain(smol, options)
        assert answer.choice is not None
        assert answer.text == options[answer.choice]
        assert answer.probability is not None
        assert 1 / len(CHOICES) <= answer.probability < 1


@pytest.mark.slow
def test_the_logprob_of_an_answer_is_that_of_its_text(smol: Remote, worker: WorkerSession) -> None:
    """What was generated is scored as an option would be, id for id."""
    plan = GenerationPlan(max_tokens=4, logprobs=True)
    answer = said(worker, QUESTION, plan)
    found = smol.pool.submit(
        inside.likelihood_of_ids, smol.target, QUESTION, answer.token_ids
    ).result()
    assert answer.logprob == pytest.approx(found, abs=NEAR)
    assert said(worker, QUESTION, evolve(plan, logprobs=False)).logprob is None


@pytest.mark.slow
def test_the_name_of_a_control_token_is_text_as_an_option(smol: Remote) -> None:
    def found(*options: str) -> object:
        return smol.call("score_choices", QUESTION, options, TEXTS).loglikelihoods

    assert found("<end_of_utterance>", "red") == found("< end_of_utterance>", "red")
