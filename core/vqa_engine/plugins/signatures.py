"""Whether an object has the shape of `ModelAdapter`: methods, and what they take.

`isinstance` on a runtime protocol accepts anything with the right names, so signatures are
compared too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from vqa_engine.adapter import ModelAdapter

CONTRACT: Mapping[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(getattr(ModelAdapter, name)).parameters)[1:]
    for name in ("load", "answer", "release", "memory_profile")
}
"""The four methods and their parameters, read from the protocol itself."""


def argument_problems(factory: Callable[..., object]) -> list[str]:
    """Why a factory cannot be called without arguments; empty when it can."""
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        return [f"it must be callable without arguments ({error})"]
    except ValueError:
        return []  # a builtin without a signature: calling it will tell
    return []


def missing_methods(owner: object) -> list[str]:
    """The contract's methods that a class or an object lacks, one sentence each."""
    return [
        f"the method {name}({', '.join(parameters)}) is missing"
        for name, parameters in CONTRACT.items()
        if not callable(getattr(owner, name, None))
    ]


def wrong_signatures(owner: object) -> list[str]:
    """The methods that do not take what the engine passes, one sentence each."""
    problems = []
    for name, parameters in CONTRACT.items():
        method = getattr(owner, name, None)
        if callable(method) and not _accepts(method, len(parameters) + _self(owner, name)):
            wanted = ", ".join(("self", *parameters))
            problems.append(f"{name}{_shown(method)} should be {name}({wanted})")
    return problems


def _self(owner: object, name: str) -> int:
    """1 when `owner.name`, looked up on a class, still wants its instance."""
    if not inspect.isclass(owner):
        return 0
    is_free = isinstance(inspect.getattr_static(owner, name), (staticmethod, classmethod))
    return 0 if is_free else 1


def _accepts(method: Callable[..., object], count: int) -> bool:
    """The engine passes positional arguments; any names will do."""
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _shown(method: Callable[..., object]) -> str:
    return f"({', '.join(inspect.signature(method).parameters)})"
