"""Governor, ladder, recycling and release, unchanged, around a model on torch."""

from __future__ import annotations

import pytest

from tests.asking import replies_to, reply_to
from tests.mlx.builders import ask, picture
from tests.torch.conftest import Folder
from vqa_engine.adapter import GenerationPlan, ModelRef
from vqa_engine.errors import OutOfMemory
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import WorkerSession

pytestmark = pytest.mark.slow

PLAN = GenerationPlan(max_tokens=4)


def session(
    folder: Folder, name: str, budget: int | None = None, *, lossy: bool = False
) -> WorkerSession:
    """A worker with one of `tests.torch.adapters`."""
    model = ModelRef(model=str(folder("idefics3")), options={"device": "cpu"})
    spec = AdapterSpec(name=name, model=model, target=f"tests.torch.adapters:{name}")
    return WorkerSession(spec, policy=MemoryPolicy(budget=budget, lossy=lossy))


def test_out_of_memory_goes_down_the_ladder(folder: Folder) -> None:
    worker = session(folder, "Starved")
    loaded = worker.load()
    reply = reply_to(worker, ask(picture()), PLAN)
    released = worker.release()
    assert [attempt.cause for attempt in reply.attempts] == ["out_of_memory"]
    assert reply.answer is not None
    assert reply.answer.plan.rung == 1
    assert reply.answer.plan.prefill_step is not None
    assert (loaded.profile.backend, loaded.profile.exact, released.residue) == ("torch", True, 0)


def test_a_batch_that_does_not_fit_is_halved_before_anything_lossy(folder: Folder) -> None:
    worker = session(folder, "Cramped", lossy=True)
    worker.load()
    asked = [ask(picture(40 + 9 * number, 60)) for number in range(8)]
    replies = replies_to(worker, asked, PLAN)
    worker.release()
    answers = [reply.answer for reply in replies if not reply.attempts]
    assert len(answers) == len(asked)
    plans = {(one.plan.rung, one.plan.kv_bits, one.plan.prefill_step) for one in answers if one}
    assert plans == {(0, None, None)}


def test_a_fresh_process_answers_the_same(folder: Folder) -> None:
    worker = session(folder, "Recycled")
    worker.load()
    first = worker.pid
    replies = [reply_to(worker, ask(picture(), text), PLAN) for text in ("Who?", "How?", "Who?")]
    assert worker.pid != first
    worker.release()
    answers = [reply.answer for reply in replies]
    assert answers[0] is not None
    assert answers[2] is not None
    assert answers[0].token_ids == answers[2].token_ids
    assert answers[0].memory is not None
    assert answers[0].memory.footprint


def test_weights_beyond_the_budget_are_refused_before_they_are_read(folder: Folder) -> None:
    """On the CPU, too, where torch counts nothing."""
    with pytest.raises(OutOfMemory, match="It does not fit") as caught:
        session(folder, "Unreadable", budget=2**20).load()
    assert caught.value.budget == 2**20
