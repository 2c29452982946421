"""What can be found out about an adapter and a model that is not loaded.

It is anybody's code that says so. `vqa_engine.worker.apart` asks it in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from attrs import frozen
from msgspec import Struct

from vqa_engine.adapter import (
    ChoiceScorer,
    Fetchable,
    GenerationPlan,
    ModelAdapter,
    default_checkpoint,
    facts_of,
)
from vqa_engine.adapter.crossing import called
from vqa_engine.errors import AdapterInvalid, VqaEngineError
from vqa_engine.memory.budget import expected
from vqa_engine.memory.fit import ELSEWHERE, expected_profile, fit, needed
from vqa_engine.memory.gauges import System
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.entry_points import reason
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.session.protocol import OnTransfer
from vqa_engine.worker.description import Description, describe


class Facts(Struct, frozen=True, tag="facts"):
    """Ask for `Sight`."""


class Fit(Struct, frozen=True, tag="fit"):
    """Ask for `Finding`."""

    plan: GenerationPlan
    policy: MemoryPolicy


class Needs(Struct, frozen=True, tag="needs"):
    """Ask for `Need`."""

    plan: GenerationPlan


class Describe(Struct, frozen=True, tag="describe"):
    """Ask for a `Description`."""


class Fetch(Struct, frozen=True, tag="fetch"):
    """Have the checkpoint brought to this machine; False where the adapter names none."""


Topic = Facts | Fit | Needs | Describe | Fetch


@frozen(kw_only=True)
class Sight:
    """What an adapter says of itself and of a model, from the model's configuration alone.

    `family` and `images` are those of `ModelFacts`, `scores` is whether it is a
    `ChoiceScorer`; the defaults are the checkpoint that it loads when none is named.
    """

    family: str | None
    images: int
    scores: bool
    default_model: str | None
    default_revision: str | None


@frozen(kw_only=True)
class Finding:
    """The fit check for people, and whether it fits."""

    lines: tuple[str, ...]
    fits: bool


@frozen(kw_only=True)
class Need:
    """What a server has to know of a model.

    `images` is how many a question may have. `bytes` is what its most expensive one takes, and
    `limit` what its library is expected to offer here; None where nobody knows.
    """

    images: int
    bytes: int | None = None
    limit: int | None = None


def found(
    adapter: ModelAdapter, spec: AdapterSpec, topic: Topic, on_transfer: OnTransfer
) -> object:
    """What is asked, from an adapter that may raise anything.

    Raises:
        VqaEngineError: what the adapter raised; where that is no error of ours, it does not
            fit.
    """
    try:
        return called(_FOUND[type(topic)], adapter, spec, topic, on_transfer)
    except VqaEngineError:
        raise
    except Exception as error:
        asked = type(topic).__name__.lower()
        problem = f"looking at it ({asked}) failed: {reason(error)}"
        raise AdapterInvalid(spec.name, [problem]) from error


def sight(adapter: ModelAdapter, spec: AdapterSpec) -> Sight:
    """What an adapter in this process says of a model.

    Raises:
        AdapterInvalid: it raised something, or what it says does not fit.
    """
    return cast(Sight, found(adapter, spec, Facts(), lambda _transfer: None))


def _sight(adapter: ModelAdapter, spec: AdapterSpec, *_: object) -> Sight:
    known, (model, revision) = facts_of(adapter, spec.model), default_checkpoint(adapter)
    return Sight(
        family=known.family,
        images=int(known.images),
        scores=isinstance(adapter, ChoiceScorer),
        default_model=model,
        default_revision=revision,
    )


def _finding(adapter: ModelAdapter, spec: AdapterSpec, topic: Fit, *_: object) -> Finding:
    result = fit(adapter, spec.model, topic.plan, topic.policy)
    return Finding(lines=result.lines(), fits=result.fits)


def _need(adapter: ModelAdapter, spec: AdapterSpec, topic: Needs, *_: object) -> Need:
    images = int(facts_of(adapter, spec.model).images)
    try:
        profile = expected_profile(adapter, spec.model)
    except VqaEngineError:
        return Need(images=images)  # not downloaded yet, or its worker says what is wrong
    limit = None if profile.backend == ELSEWHERE else _limit(profile.backend)
    return Need(images=images, bytes=needed(profile, topic.plan), limit=limit)


def _limit(backend: str) -> int | None:
    try:
        return expected(backend, System()).limit
    except VqaEngineError:
        return None  # its worker says what is wrong


def _description(adapter: ModelAdapter, spec: AdapterSpec, *_: object) -> Description:
    return describe(adapter, spec.name)


def _fetched(
    adapter: ModelAdapter, spec: AdapterSpec, _topic: Topic, on_transfer: OnTransfer
) -> bool:
    named = spec.model.model or default_checkpoint(adapter)[0]
    if not named or not isinstance(adapter, Fetchable):
        return False
    adapter.fetch(spec.model, on_transfer)
    return True


VALUES: dict[type, type] = {
    Facts: Sight,
    Fit: Finding,
    Needs: Need,
    Describe: Description,
    Fetch: bool,
}
"""What each topic asks for."""

_FOUND: dict[type, Callable[..., object]] = {
    Facts: _sight,
    Fit: _finding,
    Needs: _need,
    Describe: _description,
    Fetch: _fetched,
}
