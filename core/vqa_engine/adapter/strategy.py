"""What a cleanup strategy is: a record that says what it wants, and binds itself to calls.

Third parties subclass `CleanupStrategy` as an `attrs.frozen` record and write `bind`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define, field, fields, frozen, has

from vqa_engine.adapter.records import GenerationPlan
from vqa_engine.errors import BackendError

VERDICT = "verdict"
"""The `call` of the event that carries the audit's last word, at release."""


@define
class Moment:
    """What a strategy sees, just before a question and just after it. Sizes are bytes.

    `number` counts the questions since load, the present one included. `active` and
    `cache` are the backend's counters, None where it has none, `budget` what it may
    hold. `predicted` is the upper bound of what the question will need above `active`,
    None after it, and None before it as long as nothing is known. `slope` is the growth
    of the process per question outside the allocator, `rise` the growth of the floor
    since load. `pressure` is the system's own word for its memory: 0 enough, 1 short,
    2 very short; it is asked for some twenty times a second.
    """

    number: int = 0
    active: int | None = None
    cache: int | None = None
    budget: int | None = None
    predicted: int | None = None
    slope: float | None = None
    rise: int = 0
    pressure: int = 0

    @property
    def held(self) -> int:
        """Live buffers and pool together."""
        return (self.active or 0) + (self.cache or 0)


class Controls(Protocol):
    """One loaded model's memory calls, as a strategy sees them. Sizes are bytes.

    `backend_name` and `weights` are the profile's, `budget` is what the backend may hold
    (None when nobody knows), `largest` the most that one question has needed above the
    floor so far, `cache_limit` the standing bound of the pool, if one was set.
    """

    @property
    def backend_name(self) -> str: ...

    @property
    def weights(self) -> int: ...

    budget: int | None
    largest: int
    cache_limit: int | None

    def call(self, name: str) -> Callable[[], object]:
        """The call of this name: one of the backend's (`clear_cache`, …), `gc.collect`, the
        adapter's `drop_caches`, or the readings `read active` and `footprint`.

        Raises:
            BackendError: it does not exist here; the error names it.
        """

    def has(self, name: str) -> bool:
        """Whether the cleanup call of this name exists here."""

    def act(self, strategy: str, name: str, detail: str = "") -> int:
        """Make a cleanup call, record it, and return how many bytes it freed."""

    def note(self, strategy: str, call: str, detail: str = "") -> None:
        """Record something that was done without a backend call."""

    def limit_cache(self, strategy: str, limit: int) -> Callable[[], None]:
        """Bound the pool, and return a call that restores the earlier bound.

        Raises:
            BackendError: this backend has no such bound.
        """

    def held(self) -> int:
        """Live buffers and pool now."""

    def outside(self) -> int | None:
        """Bytes of the process outside the allocator, None where they cannot be read."""

    def ask_recycle(self, strategy: str, reason: str) -> None:
        """Ask for the model to be loaded afresh before the next question; once is enough."""


@frozen(kw_only=True)
class Bound:
    """A strategy tied to its calls; every part is optional.

    `plan` narrows each question's plan, `before` and `after` run around each question,
    `undo` puts back at release what binding changed for the whole process.
    """

    plan: Callable[[GenerationPlan], GenerationPlan] | None = None
    before: Callable[[Moment], None] | None = None
    after: Callable[[Moment], None] | None = None
    undo: Callable[[], None] | None = None


class CleanupStrategy:
    """Base of every strategy."""

    def bind(self, controls: Controls) -> Bound:
        """Tie this strategy to the calls it needs; called once, when the model is loaded.

        Ask `controls.call(name)` for each call here, not later: a call that the backend
        lacks is then an error at load, and never a silent no-op.

        Raises:
            BackendError: naming the call that is missing.
        """
        raise BackendError(f"{type(self).__name__}.bind", "this strategy does not define it")

    @property
    def name(self) -> str:
        """What events and tables call it."""
        return type(self).__name__


@frozen
class Described(CleanupStrategy):
    """Another process's strategy, for display: its name and settings, not its behaviour.

    A third party's class may not exist where the profile is read, so only this form
    crosses the process boundary.
    """

    name: str
    settings: Mapping[str, Any] = field(factory=dict)


def describe(strategy: CleanupStrategy) -> Described:
    """A strategy's name and settings."""
    if isinstance(strategy, Described):
        return strategy
    kind: type = type(strategy)
    settings = {one.name: getattr(strategy, one.name) for one in fields(kind)} if has(kind) else {}
    return Described(strategy.name, settings)


def restore(kind: type, value: Any) -> Any:
    """A `dec_hook` for msgspec: reads what `portable` wrote.

    Raises:
        NotImplementedError: for any type other than `CleanupStrategy`, as msgspec asks.
    """
    if kind is CleanupStrategy:
        return Described(**value)
    raise NotImplementedError(kind)
