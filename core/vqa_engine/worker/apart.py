"""An adapter asked about a model without loading it, in a worker process of its own.

Whatever its import or its methods do, the host gets an answer or one sentence, in time.
"""

from __future__ import annotations

import logging
from functools import partial
from threading import Event
from typing import Any

from vqa_engine.adapter import GenerationPlan
from vqa_engine.errors import ConfigurationError, WorkerError
from vqa_engine.interpreter import Interpreter
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.entry_points import ADAPTERS, select
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.session.notes import wanted
from vqa_engine.session.protocol import OnTransfer
from vqa_engine.worker.description import Description
from vqa_engine.worker.log import WorkerLog
from vqa_engine.worker.looking import (
    VALUES,
    Describe,
    Facts,
    Fetch,
    Finding,
    Fit,
    Need,
    Needs,
    Sight,
    Topic,
)
from vqa_engine.worker.messages import Found, Load, Look, Refused, ToHost
from vqa_engine.worker.place import NOT_PLAIN
from vqa_engine.worker.process import Worker, WorkerDied
from vqa_engine.worker.replies import found
from vqa_engine.worker.reraise import raised_again
from vqa_engine.worker.timeouts import Timeouts

LONGEST = 60.0
"""Seconds that an adapter may take to say something of itself or of a model's headers."""

_STALLED = 600.0
"""Seconds without progress after which a download counts as hung."""

_STOP = 2.0
"""Seconds that it gets to end; it has loaded nothing."""


def sight_of(spec: AdapterSpec) -> Sight:
    """What an adapter says of itself and of its model.

    Raises, as all functions here:
        InterpreterError: the spec's interpreter cannot run a worker.
        WorkerError: the adapter's process died, or did not answer in time.
        ConfigurationError: the options are not plain data.
        VqaEngineError: what the adapter raised.
    """
    seen: Sight = _asked(spec, Facts())
    return seen


def fit_of(spec: AdapterSpec, plan: GenerationPlan, policy: MemoryPolicy) -> Finding:
    """Whether the model of a spec fits (`vqa_engine.memory.fit.fit`)."""
    finding: Finding = _asked(spec, Fit(plan, policy))
    return finding


def needs_of(spec: AdapterSpec, plan: GenerationPlan) -> Need:
    """What a server has to know of a model before it loads it."""
    need: Need = _asked(spec, Needs(plan))
    return need


def described(name: str) -> Description:
    """An installed adapter, described for people.

    Raises:
        AdapterError: it is not installed, or offered twice; no process is started.
    """
    plugin = select(ADAPTERS, name)
    description: Description = _asked(AdapterSpec(name=plugin.name), Describe())
    return description


def fetched(spec: AdapterSpec, on_transfer: OnTransfer) -> bool:
    """Have the adapter bring its checkpoint to this machine; False where it has none to fetch.

    As long as `on_transfer` hears of progress it may take any time.
    """
    if spec.python is None and spec.target is None:
        select(ADAPTERS, spec.name)
    done: bool = _asked(spec, Fetch(), _STALLED, on_transfer)
    return done


def _asked(
    spec: AdapterSpec,
    topic: Topic,
    longest: float | None = None,
    on_transfer: OnTransfer = lambda _transfer: None,
) -> Any:
    output = WorkerLog(None, spec.label)
    try:
        value = _value(spec, topic, output, longest or LONGEST, on_transfer)
    finally:
        output.close()
    if isinstance(value, Refused):
        raise raised_again(value, spec.label, "failed when it was asked about its model")
    return value


def _value(
    spec: AdapterSpec, topic: Topic, output: WorkerLog, longest: float, on_transfer: OnTransfer
) -> Any:
    interpreter = Interpreter.of(spec.label, spec.python)
    path, policy = interpreter.module_path(), MemoryPolicy()
    load = Load(spec.name, spec.label, spec.model, policy, spec.target, path, wanted())
    worker = Worker(interpreter, output, Timeouts(load=longest, stop=_STOP), Event())
    try:
        worker.greet()
        read = partial(_read, spec.label, VALUES[type(topic)])
        return worker.exchange(Look(load, topic), longest, read, on_transfer=on_transfer)
    except WorkerDied as death:
        raise WorkerError(
            f"The adapter {spec.label!r} gave no answer about its model. {death.verdict.message}",
            label=spec.label,
            cause=death.verdict.cause,
            detail=death.said,
        ) from death
    except NOT_PLAIN as error:
        raise ConfigurationError(
            f"The options of {spec.label!r} cannot be sent to its worker: {error}"
        ) from error
    finally:
        worker.end()


def _read(label: str, kind: type, reply: ToHost) -> Any:
    value = found(kind, reply)
    if isinstance(reply, Found | Refused):
        for note in reply.notes:
            logging.getLogger(note.logger).log(note.level, "%s: %s", label, note.text)
    return value
