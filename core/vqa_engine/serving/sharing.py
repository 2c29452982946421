"""How several models share one memory budget: who fits beside whom, and who has to go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from vqa_engine.memory.policy import MemoryPolicy


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


def whole(policy: MemoryPolicy, limits: Iterable[int | None]) -> int | None:
    """The bytes that all models may hold together, None if nobody knows a limit.

    What was given, else the least that their libraries are expected to offer on this machine.
    """
    if policy.budget is not None:
        return policy.budget
    return min((limit for limit in limits if limit is not None), default=None)


def _fit(needs: Sequence[int | None], budget: int) -> bool:
    return len(needs) == 1 or (None not in needs and sum(filter(None, needs)) <= budget)
