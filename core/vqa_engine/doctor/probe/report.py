"""A plugin and whether it can be used, in this interpreter or in another one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from attrs import frozen

from vqa_engine.interpreter import Interpreter
from vqa_engine.plugins.entry_points import ADAPTERS

LONGEST = 20.0
"""Seconds until an import counts as hung; on an idle machine a healthy one takes 0.1."""

State = Literal["healthy", "broken", "invalid", "clash"]


@frozen(kw_only=True)
class Binding:
    """One cleanup strategy of a profile: whether the backend has the calls it needs."""

    strategy: str
    error: str = ""


@frozen(kw_only=True)
class PluginReport:
    """One plugin: whether it can be used, and if not, why and what to do.

    `backend` and `weights` (bytes) are an adapter's estimate before loading, `model` and
    `revision` its default checkpoint, None where nobody knows; `calls` are its cleanup
    strategies, where the backend was asked whether it has what they call; `absent` says how to
    install the library of that backend where it is missing, which is no fault.
    """

    group: str
    name: str
    state: State
    distribution: str
    version: str
    target: str
    backend: str | None = None
    weights: int | None = None
    model: str | None = None
    revision: str | None = None
    reason: str = ""
    remedy: str = ""
    absent: str = ""
    calls: tuple[Binding, ...] = ()

    @property
    def source(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}"

    @property
    def faulty(self) -> bool:
        """Whether anything is wrong with it."""
        return self.state != "healthy" or any(call.error for call in self.calls)


def report(
    groups: Iterable[str] = (ADAPTERS,),
    *,
    interpreter: Interpreter | None = None,
    longest: float = LONGEST,
    bind: bool = False,
) -> tuple[PluginReport, ...]:
    """Try every plugin of these groups that an interpreter has, by default this one.

    Each is imported in a process of its own, for at most `longest` seconds: one that
    hangs, exits or crashes harms no other, and nothing is imported here. With `bind` the
    backends are imported there as well, and each declared strategy is bound.

    Raises:
        InterpreterError: the interpreter cannot run this vqa-engine.
    """
    asked = interpreter or Interpreter.of("vqa-engine")
    arguments = (str(longest), str(int(bind)), *groups)
    return asked.ask("vqa_engine.doctor.probe.forks", *arguments, kind=tuple[PluginReport, ...])
