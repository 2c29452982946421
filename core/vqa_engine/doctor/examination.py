"""Every interpreter that a worker would run under: its machine, its plugins, its faults."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from attrs import evolve, frozen

from vqa_engine.doctor.diagnosis import Diagnosis, diagnose
from vqa_engine.errors import InterpreterError
from vqa_engine.interpreter import Interpreter
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins import registry
from vqa_engine.plugins.listing import Listed, listed, listed_by
from vqa_engine.plugins.probe import LONGEST

GROUPS = (registry.GROUP, *plugins.KINDS)


@frozen(kw_only=True)
class Examination:
    """One interpreter.

    `workers` are the adapters that it would run. `failures` are sentences that say what
    is wrong with it and what to do; of one that cannot be examined nothing else is known.
    """

    interpreter: str
    workers: tuple[str, ...]
    diagnosis: Diagnosis | None = None
    plugins: tuple[Listed, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def sick(self) -> bool:
        """Whether anything is wrong with it or with a plugin of it."""
        return bool(self.failures) or any(plugin.sick for plugin in self.plugins)


def examine(
    pythons: Mapping[str, Path] | None = None, *, longest: float = LONGEST
) -> tuple[Examination, ...]:
    """This interpreter, then each other one that an adapter's worker is to run under.

    `pythons` are those others by the adapter's name. A plugin may take `longest` seconds
    to import.
    """
    here = Interpreter.of("vqa-engine")
    asked = [Interpreter.of(name, python) for name, python in (pythons or {}).items()]
    moved = [one.label for one in asked if not one.ours]
    others = {one.python: one for one in asked if not one.ours}
    return (
        _ours(here, [one.label for one in asked if one.ours], moved, longest),
        *(
            _another(other, [one.label for one in asked if one.python == python], longest)
            for python, other in others.items()
        ),
    )


def _ours(
    here: Interpreter, asked: Iterable[str], moved: Collection[str], longest: float
) -> Examination:
    found = listed(GROUPS, longest=longest, bind=True)
    known = Examination(
        interpreter=here.python,
        workers=tuple(name for name in _adapters(found) if name not in moved),
        plugins=found,
        failures=_missing(here, asked, found),
    )
    try:
        return evolve(known, diagnosis=diagnose(here))
    except InterpreterError as error:
        return evolve(known, failures=(*known.failures, str(error)))


def _another(interpreter: Interpreter, workers: Collection[str], longest: float) -> Examination:
    known = Examination(interpreter=interpreter.python, workers=tuple(workers))
    try:
        diagnosis = diagnose(interpreter)
        found = listed_by(interpreter, GROUPS, longest=longest, bind=True)
    except InterpreterError as error:
        return evolve(known, failures=(str(error),))
    failures = _missing(interpreter, workers, found)
    return evolve(known, diagnosis=diagnosis, plugins=found, failures=failures)


def _missing(
    interpreter: Interpreter, wanted: Iterable[str], found: Iterable[Listed]
) -> tuple[str, ...]:
    """A sentence for each adapter that is to run there and is not there."""
    offered = _adapters(found)
    known = ", ".join(offered) or "none"
    return tuple(
        f"The interpreter {interpreter.python} has no adapter {name!r}; it has: {known}. "
        f"Correct the name, or install its package there: {interpreter.python} -m pip install …"
        for name in wanted
        if name not in offered
    )


def _adapters(found: Iterable[Listed]) -> list[str]:
    """Their names, each once."""
    return list(dict.fromkeys(one.name for one in found if one.group == registry.GROUP))
