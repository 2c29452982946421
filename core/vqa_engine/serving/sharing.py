"""How several models share one memory budget: who fits beside whom, and who has to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan, MemoryProfile
from vqa_engine.errors import VqaEngineError
from vqa_engine.memory.budget import Budget, expected
from vqa_engine.memory.fit import examine, expected_profile
from vqa_engine.memory.gauges import System
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins import registry
from vqa_engine.plugins.spec import AdapterSpec

_ELSEWHERE = "none"
"""The memory backend of a model that holds nothing here, as behind another server."""


@frozen
class Holding:
    """A resident model: the bytes it may need, None if nobody knows, and when it was last used."""

    label: str
    need: int | None
    used: float


def victims(need: int | None, residents: Sequence[Holding], budget: int | None) -> list[str]:
    """The models to let go before one that needs `need` bytes is loaded, the idlest first.

    An unknown need may be all there is, so such a model has the budget to itself.
    """
    if budget is None:
        return []
    going: list[str] = []
    staying = sorted(residents, key=lambda one: one.used)
    while staying and not _fit([need, *(one.need for one in staying)], budget):
        going.append(staying.pop(0).label)
    return going


def share(label: str, needs: Mapping[str, int | None], budget: int | None) -> int | None:
    """The bytes that one of several models may hold: what it needs, and its part of the rest."""
    need = needs[label]
    if budget is None or need is None or len(needs) == 1:
        return budget
    spare = budget - sum(one or 0 for one in needs.values())
    return max(1, need + max(0, spare) // len(needs))


def needed(profile: MemoryProfile, plan: GenerationPlan) -> int | None:
    """The bytes that a model needs for its most expensive image; None if nobody knows."""
    if profile.weights is None:
        return 0 if profile.backend == _ELSEWHERE else None
    return examine(profile, Budget(None, ""), plan, lossy=False).peak


def expected_need(spec: AdapterSpec, plan: GenerationPlan) -> int | None:
    """The same before the model is loaded, as far as its adapter knows."""
    profile = _expected_profile(spec)
    return None if profile is None else needed(profile, plan)


def whole(policy: MemoryPolicy, specs: Sequence[AdapterSpec]) -> int | None:
    """The bytes that all models may hold together, None if nobody knows a limit.

    What was given, else the least that their libraries are expected to offer on this machine.
    """
    if policy.budget is not None:
        return policy.budget
    backends = {profile.backend for one in specs if (profile := _expected_profile(one))}
    limits = [_expected_limit(name) for name in backends - {_ELSEWHERE}]
    return min((limit for limit in limits if limit is not None), default=None)


def _expected_limit(backend: str) -> int | None:
    try:
        return expected(backend, System()).limit
    except VqaEngineError:
        return None  # its worker says what is wrong


def _expected_profile(spec: AdapterSpec) -> MemoryProfile | None:
    """None where only a worker can say it: in another interpreter, or not downloaded yet."""
    if spec.python is not None:
        return None
    try:
        profile = expected_profile(registry.make(spec), spec.model)
    except VqaEngineError:
        return None
    return evolve(profile, strategies=())


def _fit(needs: Sequence[int | None], budget: int) -> bool:
    return len(needs) == 1 or (None not in needs and sum(filter(None, needs)) <= budget)
