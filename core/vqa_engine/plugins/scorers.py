"""Which adapters can score the choices of a question by likelihood (`ChoiceScorer`)."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_engine.adapter import ChoiceScorer
from vqa_engine.errors import AdapterError, ConfigurationError
from vqa_engine.plugins import registry
from vqa_engine.plugins.resolution import ResolvedAdapter


def check_scorers(adapters: Sequence[ResolvedAdapter]) -> None:
    """See that each adapter can score choices; no model is loaded.

    An adapter of another interpreter cannot be looked at here.

    Raises:
        ConfigurationError: one cannot; the message lists those that can.
        AdapterError: one cannot be imported.
    """
    for adapter in adapters:
        if adapter.spec.python is None and not isinstance(adapter.make(), ChoiceScorer):
            known = ", ".join(_names()) or "none"
            raise ConfigurationError(
                f"The adapter {adapter.label!r} cannot score choices by likelihood; ask it without "
                f"--choose (GenerationPlan.choose), or use an adapter that can: {known}."
            )


def _names() -> list[str]:
    return sorted({plugin.name for plugin in registry.find() if _scores(plugin.name)})


def _scores(name: str) -> bool:
    try:
        return hasattr(registry.load(name), "score_choices")
    except AdapterError:  # a broken one is no advice
        return False
