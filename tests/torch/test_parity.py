"""The embedded checkpoint on MLX and on torch, in float32, over 500 questions.

Each backend has a process of its own. Both compute in float32 but add in another order, so
logits differ in their last digits. An id may differ where two tokens are as good as tied, and
nowhere else: each difference is listed with its gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.asking import reply_to
from tests.torch import inside
from tests.torch.inside import Remote
from vqa_engine import load_questions
from vqa_engine.adapter import BUILTIN, GenerationPlan, ModelRef, Question
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import WorkerSession

pytestmark = pytest.mark.slow

PLAN = GenerationPlan(max_tokens=8)
QUESTIONS = "shapes:seed=71,count=500"
TIE = 1e-3
"""Logits. Float32 keeps seven digits, and the sums behind a logit of about ten have some
hundred terms: the two backends' logits are within 1e-4 of each other here."""


@pytest.fixture(scope="module")
def torch_adapter(process: ProcessPoolExecutor) -> Iterator[Remote]:
    """`smolvlm_torch` on the embedded checkpoint."""
    remote = Remote(process, "vqa_engine_adapters.torch.smolvlm:SmolVlmTorch")
    assert remote.load(BUILTIN) is None
    yield remote
    remote.call("release")


@pytest.fixture(scope="module")
def mlx_session() -> Iterator[WorkerSession]:
    """`smolvlm` on the same."""
    session = WorkerSession(AdapterSpec(name="smolvlm", model=ModelRef(model=BUILTIN)))
    session.load()
    yield session
    session.release()


def test_ids_are_the_same(torch_adapter: Remote, mlx_session: WorkerSession) -> None:
    questions, differing = list(load_questions(QUESTIONS)), []
    jobs = [torch_adapter.begin("answer", question, PLAN) for question in questions]
    for question, job in zip(questions, jobs, strict=True):
        reply = reply_to(mlx_session, question, PLAN)  # while torch is at work as well
        assert reply.answer, reply.failure
        ours, theirs = job.result().token_ids, reply.answer.token_ids
        if ours != theirs:
            differing.append((question.question_id, _gap(torch_adapter, question, ours, theirs)))
    assert all(gap < TIE for _, gap in differing), differing


def _gap(
    adapter: Remote, question: Question, ours: tuple[int, ...], theirs: tuple[int, ...]
) -> float:
    """The gap at the first id that differs."""
    shared = next(
        (n for n, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]),
        min(len(ours), len(theirs)),
    )
    job = adapter.pool.submit(inside.gap, adapter.target, question, PLAN, ours[:shared])
    return job.result()
