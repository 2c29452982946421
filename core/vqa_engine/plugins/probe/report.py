"""A plugin and whether it can be used, in this interpreter or in another one."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from attrs import frozen

from vqa_engine.errors import ConfigurationError, InterpreterError
from vqa_engine.interpreter import Interpreter
from vqa_engine.plugins.entry_points import ADAPTERS, Plugin, find, remedy
from vqa_engine.plugins.library import Library

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
    install the library of that backend where it is missing, which is no fault. `scores` is
    whether an adapter can score choices (`ChoiceScorer`), `library` what a memory backend says of
    its library.
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
    scores: bool = False
    library: Library | None = None
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
    asked, groups = interpreter or Interpreter.of("vqa-engine"), tuple(groups)
    offered = [plugin for group in groups for plugin in find(group)] if asked.ours else []
    try:
        return _asked(asked, groups, longest, bind, many=len(offered) or _MANY)
    except InterpreterError:
        if not offered:
            raise
    # One of them ended or stopped the process that tries them all: each is tried apart.
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = threads.map(lambda one: _alone(asked, one, longest, bind), offered)
        return tuple(report for reports in found for report in reports)


def check(plugin: Plugin) -> None:
    """Try one plugin before its code runs here.

    Raises:
        ConfigurationError: it cannot be used; the text says why.
    """
    for one in _alone(Interpreter.of(plugin.name), plugin, LONGEST, bind=False):
        if one.name == plugin.name and one.state != "healthy":
            raise ConfigurationError(
                f"{plugin.title} cannot be used: {one.reason.rstrip('.')}. {one.remedy}."
            )


def _alone(
    asked: Interpreter, plugin: Plugin, longest: float, bind: bool
) -> tuple[PluginReport, ...]:
    """The report of one plugin, tried apart from all others."""
    group = plugin.entry_point.group
    try:
        return _asked(asked, (group,), longest, bind, only=plugin.target)
    except InterpreterError:
        return (
            PluginReport(
                group=group,
                name=plugin.name,
                state="broken",
                distribution=plugin.distribution,
                version=plugin.version,
                target=plugin.target,
                reason="importing it ended or stopped the process that tried it",
                remedy=remedy(plugin),
            ),
        )


def _asked(  # noqa: PLR0913  what is asked
    asked: Interpreter,
    groups: tuple[str, ...],
    longest: float,
    bind: bool,
    *,
    only: str = "",
    many: int = 1,
) -> tuple[PluginReport, ...]:
    arguments = (str(longest), str(int(bind)), only, *groups)
    return asked.ask(
        "vqa_engine.doctor.probe.forks",
        *arguments,
        kind=tuple[PluginReport, ...],
        longest=_START + longest * (2 + many // _AT_ONCE),
    )


_START = 30.0
"""Seconds for an interpreter to start on a busy machine."""

_AT_ONCE = 4
"""Plugins that are tried at once."""

_MANY = 200
"""Plugins that another interpreter has at most, for the time limit."""
