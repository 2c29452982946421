"""The torch adapters on a GPU: its own figures, real exhaustion, bytes given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import frozen

from tests.asking import reply_to
from tests.mlx.builders import ask, picture
from tests.torch.conftest import Folder
from tests.torch.inside import Remote
from vqa_engine import load_questions
from vqa_engine.adapter import BUILTIN, GenerationPlan, ModelRef
from vqa_engine.errors import OutOfMemory
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import WorkerSession
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

PLAN = GenerationPlan(max_tokens=4)
MIB = 2**20


def session(model: str, name: str = "SmolVlmTorch", budget: int | None = None) -> WorkerSession:
    """A worker on the default device."""
    home = "vqa_engine_adapters.torch.smolvlm" if name == "SmolVlmTorch" else "tests.torch.adapters"
    spec = AdapterSpec(name=name, model=ModelRef(model=model), target=f"{home}:{name}")
    return WorkerSession(spec, policy=MemoryPolicy(budget=budget))


@frozen
class Seen:
    """One inline session, byte for byte; `free` is what the card itself had free."""

    weights: int
    loaded: int
    pool: int
    freed: int
    free: tuple[int, int]
    residue: int | None
    verdict: str


def watched() -> Seen:
    """Runs inside the torch process."""
    from vqa_engine.session.local import LocalSession

    local = LocalSession(SmolVlmTorch(), ModelRef(model=BUILTIN))
    loaded = local.load()
    for question in load_questions("shapes:seed=3,count=12"):
        assert reply_to(local, question, PLAN).answer
    governor = local._place._resident._governor  # type: ignore[attr-defined]
    assert governor is not None
    torch.empty(64 * MIB, dtype=torch.uint8, device="cuda")  # freed at once, into the pool
    pool = governor.backend.read().cache or 0
    before = torch.cuda.mem_get_info()[0]
    freed = governor.controls.act("test", "clear_cache")
    after = torch.cuda.mem_get_info()[0]
    released = local.release()
    assert released.verdict is not None
    return Seen(
        weights=loaded.profile.weights or 0,
        loaded=loaded.memory.active or 0,
        pool=pool,
        freed=freed,
        free=(before, after),
        residue=released.residue,
        verdict=released.verdict.kind,
    )


def test_the_pool_is_reclaimable_and_release_is_exact(process: Any) -> None:
    seen = process.submit(watched).result()
    assert seen.weights <= seen.loaded < 1.1 * seen.weights + MIB
    assert seen.pool >= 64 * MIB <= seen.freed
    assert seen.free[1] - seen.free[0] == seen.freed
    assert (seen.residue, seen.verdict in ("steady", "warm-up")) == (0, True)


def test_the_budget_is_the_cards() -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    worker = session(BUILTIN)
    loaded = worker.load()
    replies = [reply_to(worker, one, PLAN) for one in load_questions("shapes:seed=3,count=20")]
    worker.release()
    assert loaded.profile.device == "cuda"
    assert loaded.budget is not None
    assert 0.3 * total < loaded.budget < 0.95 * total
    last = replies[-1]
    assert last.answer is not None
    assert last.answer.memory is not None
    assert (last.answer.memory.peak or 0) > (last.answer.memory.active or 0) > 0
    assert last.prediction is not None
    assert (last.prediction.truth or 0) <= last.prediction.bound


def test_a_model_on_the_cpu_is_not_judged_by_the_gpu() -> None:
    model = ModelRef(model=BUILTIN, options={"device": "cpu"})
    worker = WorkerSession(AdapterSpec(name="smolvlm_torch", model=model))
    loaded = worker.load()
    reply = reply_to(worker, ask(picture()), PLAN)
    worker.release()
    assert (loaded.profile.device, loaded.memory.active) == ("cpu", None)
    assert reply.answer is not None


def test_the_default_precision_is_bfloat16(process: Any, folder: Folder) -> None:
    remote = Remote(process, "vqa_engine_adapters.torch.smolvlm:SmolVlmTorch")
    remote.load(folder("idefics3"))
    whole = remote.call("memory_profile").weights
    remote.call("load", ModelRef(model=str(folder("idefics3"))))
    assert remote.call("memory_profile").weights < 0.6 * whole
    assert len(remote.ids(ask(picture()), PLAN)) > 0
    remote.call("release")


def test_real_exhaustion_goes_down_the_ladder(folder: Folder) -> None:
    worker = session(str(folder("idefics3")), "Exhausted")
    worker.load()
    reply = reply_to(worker, ask(picture()), PLAN)
    released = worker.release()
    assert [attempt.cause for attempt in reply.attempts] == ["out_of_memory"]
    assert "CUDA out of memory" in reply.attempts[0].message
    assert reply.answer is not None
    assert reply.answer.plan.rung == 1
    assert released.residue == 0


def test_a_lost_context_costs_one_restart(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VQA_ENGINE_TEST_POISONED", str(tmp_path / "told"))
    worker = session(str(folder("idefics3")), "Poisoned")
    worker.load()
    first = worker.pid
    reply = reply_to(worker, ask(picture()), PLAN)
    second = worker.pid
    worker.release()
    assert [attempt.cause for attempt in reply.attempts] == ["backend"]
    assert reply.answer is not None
    assert reply.answer.plan.rung == 0
    assert first != second


def test_a_small_budget_is_kept(folder: Folder) -> None:
    """First by cheaper plans, then by a typed refusal; the run goes on either way."""
    with pytest.raises(OutOfMemory, match="It does not fit"):
        session(BUILTIN, budget=MIB).load()
    worker = session(BUILTIN)
    loaded = worker.load()
    worker.release()
    worker = session(BUILTIN, budget=(loaded.memory.active or 0) + 64 * MIB)
    worker.load()
    replies = [reply_to(worker, one, PLAN) for one in load_questions("shapes:seed=3,count=6")]
    worker.release()
    assert {reply.failure.cause for reply in replies if reply.failure} <= {"refused"}
    assert any(reply.answer for reply in replies)
