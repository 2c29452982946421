"""What works on this machine: every interpreter that a worker would use, and its plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import evolve, frozen

from vqa_engine.doctor.machine import Machine, inspect
from vqa_engine.errors import InterpreterError
from vqa_engine.interpreter import Interpreter
from vqa_engine.plugins.entry_points import ADAPTERS, KINDS
from vqa_engine.plugins.probe import LONGEST, PluginReport, report


@frozen(kw_only=True)
class Examination:
    """One interpreter.

    `workers` are the adapters that it would run. `failures` are sentences that say what
    is wrong with it and what to do; of one that cannot be examined nothing else is known.
    """

    interpreter: str
    workers: tuple[str, ...]
    machine: Machine | None = None
    plugins: tuple[PluginReport, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def faulty(self) -> bool:
        """Whether anything is wrong with it or with a plugin of it."""
        return bool(self.failures) or any(plugin.faulty for plugin in self.plugins)


def examine(
    pythons: Mapping[str, Path] | None = None, *, longest: float = LONGEST
) -> tuple[Examination, ...]:
    """This interpreter, then each other one that an adapter's worker is to run under.

    `pythons` are those others by the adapter's name. A plugin may take `longest` seconds
    to import.
    """
    here = Interpreter.of("vqa-engine")
    asked = [Interpreter.of(name, python) for name, python in (pythons or {}).items()]
    examined = [here, *{one.python: one for one in asked if not one.ours}.values()]
    return tuple(_examination(one, asked, longest) for one in examined)


def _examination(
    interpreter: Interpreter, asked: Iterable[Interpreter], longest: float
) -> Examination:
    wanted = [one.label for one in asked if one.python == interpreter.python]
    known = Examination(interpreter=interpreter.python, workers=tuple(wanted))
    try:
        machine = inspect(interpreter)
        found = report(KINDS, interpreter=interpreter, longest=longest, bind=True)
    except InterpreterError as error:
        return evolve(known, failures=(str(error),))
    offered = list(dict.fromkeys(one.name for one in found if one.group == ADAPTERS))
    moved = {one.label for one in asked if not one.ours}
    return evolve(
        known,
        workers=tuple(n for n in offered if n not in moved) if interpreter.ours else known.workers,
        machine=machine,
        plugins=found,
        failures=tuple(_missing(interpreter, n, offered) for n in wanted if n not in offered),
    )


def _missing(interpreter: Interpreter, name: str, offered: Iterable[str]) -> str:
    return (
        f"The interpreter {interpreter.python} has no adapter {name!r} (it has: "
        f"{', '.join(offered) or 'none'}). Correct the name, or install its package there: "
        f"{interpreter.python} -m pip install …"
    )
