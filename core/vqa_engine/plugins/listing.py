"""Plugins as a listing tells them: plain data, of this interpreter or of another one.

Another one is asked for its own: `python -m vqa_engine.plugins.listing SECONDS BIND GROUP…`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from attrs import frozen

from vqa_engine.interpreter import Interpreter, say
from vqa_engine.plugins import registry
from vqa_engine.plugins.probe import LONGEST, Binding


@frozen(kw_only=True)
class Listed:
    """One plugin: whether it can be used, and if not, why and what to do.

    `state` is one word. `backend` and `weights` (bytes) are an adapter's estimate before
    loading, `model` its default checkpoint, None where nobody knows; `calls` are its
    cleanup strategies, where the backend was asked whether it has what they call.
    """

    group: str
    name: str
    state: registry.State
    distribution: str
    version: str
    target: str
    backend: str | None = None
    weights: int | None = None
    model: str | None = None
    reason: str = ""
    remedy: str = ""
    calls: tuple[Binding, ...] = ()

    @property
    def source(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}"

    @property
    def sick(self) -> bool:
        """Whether anything is wrong with it."""
        return self.state != "healthy" or any(call.error for call in self.calls)


def listed(
    groups: Iterable[str] = (registry.GROUP,), *, longest: float = LONGEST, bind: bool = False
) -> tuple[Listed, ...]:
    """The plugins of these groups that are installed here; see `registry.report`.

    Raises:
        WorkerError: no process can be started here.
    """
    plugins = [plugin for group in groups for plugin in registry.find(group)]
    return tuple(_listed(one) for one in registry.report(plugins, longest=longest, bind=bind))


def listed_by(
    interpreter: Interpreter, groups: Iterable[str], *, longest: float, bind: bool
) -> tuple[Listed, ...]:
    """The same of another interpreter. It takes as long as its plugins do.

    Raises:
        InterpreterError: it does not list them.
    """
    arguments = (str(longest), str(int(bind)), *groups)
    return interpreter.ask("vqa_engine.plugins.listing", *arguments, kind=tuple[Listed, ...])


def _listed(report: registry.PluginReport) -> Listed:
    plugin, profile = report.plugin, report.profile
    return Listed(
        group=plugin.entry_point.group,
        name=plugin.name,
        state=report.state,
        distribution=plugin.distribution,
        version=plugin.version,
        target=plugin.target,
        backend=profile.backend if profile else None,
        weights=profile.weights if profile else None,
        model=report.model,
        reason=report.reason,
        remedy=report.remedy,
        calls=report.bindings,
    )


if __name__ == "__main__":
    say(listed(sys.argv[3:], longest=float(sys.argv[1]), bind=sys.argv[2] == "1"))
