"""Which adapter to run, and with which checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, evolve, field, frozen

from vqa_engine.adapter import GenerationPlan, ModelRef
from vqa_engine.errors import ConfigurationError


@frozen(kw_only=True)
class AdapterSpec:
    """Which adapter to run, and with which checkpoint.

    `name` is the entry-point name. `target` (`module:Class`) names an importable class
    that is no plugin. `label` is what tables and rows call it, so that one adapter can
    run with two checkpoints. `python` is the interpreter of its worker process; None is
    the one that runs the engine. `settings` are fields of the engine's `GenerationPlan` that
    are different for this adapter, such as `{"prompt": "{question} Answer briefly."}`.
    """

    name: str
    model: ModelRef = field(factory=ModelRef)
    label: str = field(default=Factory(lambda spec: spec.name, takes_self=True))
    target: str | None = None
    python: Path | None = None
    settings: Mapping[str, Any] = field(factory=dict, hash=False)

    def planned(self, plan: GenerationPlan) -> GenerationPlan:
        """The plan with this adapter's own settings.

        Raises:
            ConfigurationError: they are not those of a plan.
        """
        try:
            return evolve(plan, **self.settings)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"The settings of {self.label!r} are not valid: {error.args[0]}."
            ) from error

    @classmethod
    def parse(cls, text: str) -> AdapterSpec:
        """The spec for `NAME`, `NAME@MODEL`, or `LABEL=` and one of them.

        Without a label the text is one.
        """
        label, named, rest = text.partition("=")
        if not named or "@" in label:  # an equals sign in the path of a model
            label, rest = text, text
        name, _, model = rest.partition("@")
        return cls(name=name, model=ModelRef(model=model or None), label=label)
