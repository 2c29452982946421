"""Torch's counters: the device that is counted, and growth that only the driver shows.

MPS is a stand-in here, with the figures of docs/facts/memory.md, "PyTorch"; CUDA's own
figures are those of tests/torch/test_cuda.py, on a machine that has it.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from attrs import define

from tests.builders import a_question
from vqa_engine.adapter import GenerationPlan, MemoryProfile, MemoryReading, ModelRef
from vqa_engine.adapter.strategy import VERDICT
from vqa_engine.memory.budget import budget
from vqa_engine.memory.gauges import Figure, System
from vqa_engine.memory.governor import Governor
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.memory.strategies import RecycleWorker
from vqa_engine_adapters.torch.device import SLOPE
from vqa_engine_adapters.torch.memory import TorchBackend
from vqa_engine_adapters.torch.smolvlm import SmolVlmTorch

GIB = 1 << 30
FLAT, LEAKED, ASKED = 3_300_000_000, 32_000_000_000, 4096
"""Bytes that the allocator held throughout, bytes of the driver in the end, questions."""


@define
class Mps:
    """`torch.mps` over a run: MPSGraph's caches, and the allocator's pool."""

    graph: int = 0
    pool: int = 0

    def current_allocated_memory(self) -> int:
        return FLAT

    def driver_allocated_memory(self) -> int:
        return FLAT + self.graph + self.pool

    def recommended_max_memory(self) -> int:
        return 40 * GIB

    def empty_cache(self) -> None:
        self.pool = 0


def mac(mps: Mps) -> SimpleNamespace:
    """torch on a Mac."""
    return SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: False),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: True)),
        mps=mps,
    )


def recycled(graph: int, pool: int) -> tuple[str, Mps]:
    """Why a fresh process was asked for, after questions that each add so many bytes."""
    mps = Mps()
    profile = MemoryProfile(backend="torch", strategies=(RecycleWorker(slope=SLOPE),))
    governor = Governor(profile, memory=TorchBackend(torch=mac(mps)))
    governor.bind(profile)
    for number in range(ASKED):
        governor.plan([a_question(number)], GenerationPlan())
        mps.graph, mps.pool = mps.graph + graph, mps.pool + pool
        governor.account(None)
    return governor.controls.recycle, mps


def test_a_growing_gap_of_the_driver_asks_for_a_fresh_process() -> None:
    reason, _ = recycled(graph=(LEAKED - FLAT) // ASKED, pool=0)
    assert "the process grows by" in reason


def test_a_growing_gap_is_seen_through_the_pool() -> None:
    reason, _ = recycled(graph=(LEAKED - FLAT) // ASKED, pool=2 * (LEAKED - FLAT) // ASKED)
    assert "the process grows by" in reason


def test_a_flat_gap_asks_for_nothing() -> None:
    assert recycled(graph=0, pool=0)[0] == ""


def test_a_pool_that_clearing_gives_back_asks_for_nothing() -> None:
    reason, mps = recycled(graph=0, pool=(LEAKED - FLAT) // ASKED)
    assert reason == ""
    assert mps.pool < LEAKED - FLAT


def test_mps_is_judged_by_its_driver() -> None:
    backend = TorchBackend(torch=mac(Mps(graph=LEAKED - FLAT)))
    assert backend.read() == MemoryReading(active=FLAT, cache=LEAKED - FLAT)
    assert (backend.limit().value, backend.device) == (40 * GIB, "mps:0")
    assert backend.free().missing
    assert backend.outside(LEAKED + GIB) == GIB + LEAKED - FLAT


def cuda(devices: int = 2) -> SimpleNamespace:
    """torch with CUDA devices; what is read of device n has n GiB more of it."""
    reset: list[int] = []

    def stats(index: int) -> dict[str, dict[str, dict[str, int]]]:
        active, held = (5 + index) * GIB, 7 * GIB
        return {
            "requested_bytes": {"all": {"current": active, "peak": active + GIB}},
            "allocated_bytes": {"all": {"current": active + 512, "peak": active + GIB + 512}},
            "reserved_bytes": {"all": {"current": held, "peak": held}},
        }

    return SimpleNamespace(
        reset=reset,
        _C=SimpleNamespace(),
        mps=None,
        cuda=SimpleNamespace(
            is_available=lambda: devices > 0,
            current_device=lambda: 0,
            mem_get_info=lambda index: (60 * GIB, (80 + index) * GIB),
            memory_stats_as_nested_dict=stats,
            empty_cache=lambda: None,
            reset_peak_memory_stats=reset.append,
        ),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: False)),
    )


@pytest.mark.parametrize(
    ("device", "index"), [(None, 0), ("cuda", 0), ("cuda:1", 1)], ids=["preferred", "cuda", "1"]
)
def test_cuda_is_counted_on_the_device_asked_for(device: str | None, index: int) -> None:
    library = cuda()
    backend = TorchBackend(device, torch=library)
    assert backend.device == f"cuda:{index}"
    assert backend.read() == MemoryReading(
        active=(5 + index) * GIB, cache=(2 - index) * GIB, peak=(6 + index) * GIB
    )
    backend.reset_peak()
    assert library.reset == [index]
    assert backend.limit().value == (80 + index) * GIB
    assert backend.outside(GIB) == GIB  # its memory is no part of the process


def test_before_its_first_use_cuda_holds_nothing() -> None:
    library = cuda()
    library.cuda.memory_stats_as_nested_dict = lambda _index: {}
    assert TorchBackend(torch=library).read() == MemoryReading(active=0, cache=0, peak=0)


def test_without_a_count_of_what_was_asked_for_the_rounded_one_serves() -> None:
    library = cuda()
    library.cuda.memory_stats_as_nested_dict = lambda _index: {
        "requested_bytes": {"all": {"current": 0, "peak": 0}},
        "allocated_bytes": {"all": {"current": 512, "peak": 1024}},
        "reserved_bytes": {"all": {"current": 2048}},
    }
    assert TorchBackend(torch=library).read() == MemoryReading(active=512, cache=1536, peak=1024)


def test_a_device_with_memory_of_its_own_is_not_bounded_by_the_systems() -> None:
    class Full:
        name = "full"

        def read(self) -> tuple[Figure, ...]:
            return (Figure("available", GIB),)

    found = budget(TorchBackend(torch=cuda()), System(Full()))
    assert found.limit == 7 * GIB + 54 * GIB  # what is held, and nine tenths of what is free
    assert found.source == "free less a reserve"


@pytest.mark.parametrize("device", ["cpu", "xpu:0"])
def test_elsewhere_torch_counts_nothing_and_says_so(device: str) -> None:
    """Beside a GPU, too: its figures are not those of a model on the CPU."""
    backend = TorchBackend(device, torch=cuda())
    assert backend.read() == MemoryReading()
    assert f"torch counts nothing on the device {device.partition(':')[0]!r}" in str(
        {backend.limit().missing, backend.free().missing}
    )
    assert "clear_cache" not in backend.calls


def test_the_governor_follows_the_model_to_its_device() -> None:
    """The adapter said only after loading that its model is on the CPU."""
    before, after = MemoryProfile(backend="torch"), MemoryProfile(backend="torch", device="cpu")
    governor = Governor(before, memory=TorchBackend(torch=cuda()))
    governor.bind(after)
    assert governor.backend.device == "cpu"
    assert governor.read().active is None
    assert governor.settle()[0] is None


def test_a_budget_that_nothing_counts_is_reported() -> None:
    profile = MemoryProfile(backend="torch", device="cpu")
    governor = Governor(profile, MemoryPolicy(budget=GIB), memory=TorchBackend("cpu", torch=torch))
    [event] = governor.bind(profile)
    assert event.call == "only the weights are held to it"
    assert "counts nothing" in event.detail


def test_the_slope_has_the_last_word_where_nothing_is_counted() -> None:
    profile = MemoryProfile(backend="torch", device="cpu")
    governor = Governor(profile, memory=TorchBackend("cpu", torch=torch))
    governor.bind(profile)
    residue, [event] = governor.settle()
    assert (residue, event.call) == (None, VERDICT)
    assert event.detail.startswith("unknown: nothing counts")


def test_an_option_names_the_device_before_anything_is_loaded() -> None:
    model = ModelRef(model="builtin", options={"device": "cuda:1"})
    assert SmolVlmTorch().profile_of(model).device == "cuda:1"
