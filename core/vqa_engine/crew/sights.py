"""What the adapters of an engine say of their models before any is loaded."""

from __future__ import annotations

from attrs import define, field

from vqa_engine.crew.holder import Isolation
from vqa_engine.errors import ConfigurationError
from vqa_engine.plugins.probe import report
from vqa_engine.plugins.resolution import ResolvedAdapter
from vqa_engine.worker.apart import sight_of
from vqa_engine.worker.looking import Sight, sight


@define
class Sights:
    """What each adapter says, asked once, where its model will run: in a process of its own,
    or inline.
    """

    isolation: Isolation
    _seen: dict[str, Sight] = field(factory=dict)

    def of(self, adapter: ResolvedAdapter) -> Sight:
        """What this one says.

        Raises:
            VqaEngineError: it cannot be imported or asked.
        """
        if adapter.label not in self._seen:
            apart = self.isolation == "process" and adapter.portable
            found = sight_of(adapter.spec) if apart else sight(adapter.make(), adapter.spec)
            self._seen[adapter.label] = found
        return self._seen[adapter.label]

    def family(self, adapter: ResolvedAdapter) -> str:
        """What task cards call its model's family: the adapter's name where it is not known."""
        return self.of(adapter).family or adapter.spec.name

    def check_scorer(self, adapter: ResolvedAdapter) -> None:
        """See that an adapter can score choices by likelihood.

        Raises:
            ConfigurationError: it cannot; the message lists those that can.
            VqaEngineError: it cannot be imported or asked.
        """
        if not self.of(adapter).scores:
            known = ", ".join(one.name for one in report() if one.scores) or "none"
            raise ConfigurationError(
                f"The adapter {adapter.label!r} cannot score choices by likelihood; ask it without "
                f"--choose (GenerationPlan.choose), or use an adapter that can: {known}."
            )
