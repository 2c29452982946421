"""The part of an answer that counts, by rule: what a task's card calls `take`.

It is written before a metric's name, as in `after:Answer:>exact`, and is a part of that name,
so answers stay as they came and can be scored again in another way.
"""

from __future__ import annotations

from collections.abc import Callable

from vqa_engine.errors import ConfigurationError

Extractor = Callable[[str], str]


def extractor(wanted: str) -> Extractor:
    """The rule of this name.

    `first-line` and `last-line` are of lines that are not blank, and `after:TEXT` is what
    follows the last TEXT. Where a rule finds nothing, the whole answer counts.

    Raises:
        ConfigurationError: there is none.
    """
    name, colon, argument = wanted.partition(":")
    if name == "after" and argument:
        return lambda answer: answer.rpartition(argument)[2].strip()
    if colon or name not in _RULES:
        raise ConfigurationError(
            f"There is no rule {wanted!r} for the part of an answer that counts; choose from: "
            f"{', '.join(_RULES)}, after:TEXT."
        )
    return _RULES[name]


def _first_line(answer: str) -> str:
    return answer.strip().partition("\n")[0].strip()


def _last_line(answer: str) -> str:
    return answer.strip().rpartition("\n")[2].strip()


_RULES: dict[str, Extractor] = {"first-line": _first_line, "last-line": _last_line}
