"""Which adapter to run, and with which checkpoint."""

from __future__ import annotations

from pathlib import Path

from attrs import Factory, field, frozen

from vqa_engine.adapter import ModelRef


@frozen(kw_only=True)
class AdapterSpec:
    """Which adapter to run, and with which checkpoint.

    `name` is the entry-point name. `target` (`module:Class`) names an importable class
    that is no plugin. `label` is what tables and rows call it, so that one adapter can
    run with two checkpoints. `python` is the interpreter of its worker process; None is
    the one that runs the engine.
    """

    name: str
    model: ModelRef = field(factory=ModelRef)
    label: str = field(default=Factory(lambda spec: spec.name, takes_self=True))
    target: str | None = None
    python: Path | None = None

    @classmethod
    def parse(cls, text: str) -> AdapterSpec:
        """The spec for `NAME` or `NAME@MODEL`; the text is its label."""
        name, _, model = text.partition("@")
        return cls(name=name, model=ModelRef(model=model or None), label=text)
