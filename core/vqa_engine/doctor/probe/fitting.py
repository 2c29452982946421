"""`python -m vqa_engine.doctor.probe.fitting QUESTION`: the fit check, in a process of its own.

An adapter's estimate is anybody's code: what it raises, prints or leaves behind concerns
nobody here, and one that hangs is ended.
"""

from __future__ import annotations

import sys

import msgspec

from vqa_engine.adapter import GenerationPlan, ModelRef
from vqa_engine.adapter.crossing import called
from vqa_engine.errors import ConfigurationError
from vqa_engine.interpreter import Interpreter, say
from vqa_engine.memory.fit import fit
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins import registry
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker.messages import Refused
from vqa_engine.worker.reraise import raised_again, refusal

_LONGEST = 600.0
"""Seconds; reading a checkpoint's headers from the hub takes a few."""


class _Asked(msgspec.Struct):
    """What is to be fitted: a spec's parts that matter, the plan and the policy."""

    name: str
    label: str
    target: str | None
    model: ModelRef
    plan: GenerationPlan
    policy: MemoryPolicy


class Finding(msgspec.Struct):
    """The fit check for people, and whether it fits."""

    lines: tuple[str, ...]
    fits: bool
    refused: Refused | None = None


def fit_apart(spec: AdapterSpec, plan: GenerationPlan, policy: MemoryPolicy) -> Finding:
    """Whether the model of a spec fits (`vqa_engine.memory.fit.fit`), found in its interpreter.

    Raises:
        InterpreterError: the process ended, or did not within ten minutes.
        ConfigurationError: the options are not plain data.
        VqaEngineError: what the adapter raised.
    """
    asked = _Asked(spec.name, spec.label, spec.target, spec.model, plan, policy)
    try:
        text = msgspec.json.encode(asked).decode()
    except (TypeError, ValueError, OverflowError) as error:
        problem = f"The options of {spec.label!r} are not plain data: {error}"
        raise ConfigurationError(problem) from error
    interpreter = Interpreter.of(spec.label, spec.python)
    found = interpreter.ask(__name__, text, kind=Finding, longest=_LONGEST)
    if found.refused is not None:
        raise raised_again(found.refused, spec.label)
    return found


def _found(asked: _Asked) -> Finding:
    spec = AdapterSpec(name=asked.name, label=asked.label, target=asked.target, model=asked.model)
    try:
        adapter = called(registry.make, spec)
        result = fit(adapter, asked.model, asked.plan, asked.policy)
    except Exception as error:  # noqa: BLE001  an adapter may raise anything; the asker raises it
        return Finding((), fits=False, refused=refusal(error))
    return Finding(result.lines(), result.fits)


if __name__ == "__main__":
    say(_found(msgspec.json.decode(sys.argv[1], type=_Asked)))
