"""Budgets on a GPU: what a question's peak and rate are under each.

    python -m benchmarks.gpu_budgets [--cpu] [--images N]

Phi-3.5-vision's shape in 4 bits on MLX, one question about each of the pictures, 8 tokens:
without a budget, with `--memory saver`, then with budgets of so much above the weights. The rate
is that of the later half. With `--cpu` the model is a tiny SmolVLM with tiny budgets, for Phi's
tower has a fixed width: it shows within a minute that the benchmark works, and no more.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import mlx.core as mx
from benchmarks.gpu_checkpoints import phi_35, smolvlm_256m
from benchmarks.gpu_table import about, photos

from vqa_engine.adapter import GenerationPlan, ModelAdapter, ModelRef, Question
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.session.local import LocalSession
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

MIB = 1 << 20
BUDGETS = (560, 820, 1230, 1840)
"""MiB above the weights: from about what the narrowest plan needs to less than the widest's."""


def weights_of(adapter: type[ModelAdapter], model: ModelRef) -> int:
    """Bytes that MLX holds when nothing but the model is loaded."""
    session = LocalSession(adapter(), model)
    session.load()
    weights = mx.get_active_memory()
    session.release()
    return weights


def measured(
    adapter: type[ModelAdapter],
    model: ModelRef,
    questions: Sequence[Question],
    policy: MemoryPolicy,
    name: str,
) -> str:
    """A line of the table."""
    session = LocalSession(adapter(), model, policy)
    session.load()
    floor, peaks, seconds, refused = mx.get_active_memory(), [], [], 0
    for question in questions:
        mx.reset_peak_memory()
        started = perf_counter()
        ((_, reply),) = session.ask([question], GenerationPlan(max_tokens=8))
        seconds.append(perf_counter() - started)
        peaks.append(mx.get_peak_memory() - floor)
        refused += reply.answer is None
    session.release()
    half = seconds[len(seconds) // 2 :]
    highest, rate = f"{max(peaks) / MIB:.1f} MiB", len(half) / sum(half)
    return f"| {name} | {highest} | {refused} | {rate:.2f} |"


def main() -> None:
    """A line for each budget."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cpu", action="store_true", help="a tiny model, to try the benchmark")
    parser.add_argument("--images", type=int, default=20)
    given = parser.parse_args()
    print("| budget above the weights | highest peak | refused | questions/s |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        adapter, write = (SmolVlm, smolvlm_256m) if given.cpu else (Phi35Vision, phi_35)
        model = ModelRef(model=str(write(folder / "model", large=not given.cpu)))
        questions = about(photos(folder, given.images), 1)
        weights = weights_of(adapter, model)
        rooms = [budget * MIB // (100 if given.cpu else 1) for budget in BUDGETS]
        policies = {"none": MemoryPolicy(), "none, saver": MemoryPolicy(saver=True)}
        policies |= {f"{room / MIB:.0f} MiB": MemoryPolicy(budget=weights + room) for room in rooms}
        for name, policy in policies.items():
            print(measured(adapter, model, questions, policy, name), flush=True)


if __name__ == "__main__":
    main()
