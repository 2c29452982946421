"""Two adapters compared by their journals: of one run, or of two over the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from vqa_engine.errors import ConfigurationError, NotComparable
from vqa_engine.files import real
from vqa_engine.runs.manifest import Manifest
from vqa_engine.runs.opening import Run, opened
from vqa_engine.runs.rescoring import answered, chosen_metrics
from vqa_engine.scoring.comparison import Comparison, compare
from vqa_engine.scoring.making import MetricLike

_SAME = ("question_digest", "question_data")
"""Settings of a run that two runs must share, where both have them."""

_PLANNED = ("prompt", "system")
"""Settings of a plan that change what a model is asked."""

_PROMPTS = ("instruction", "prompt", "system")
"""Options of an adapter that change what a model is asked."""

_DIGESTS = ("question_digest",)
"""Settings of which the values say nothing to a reader."""

_NAMES = {"question_digest": "the questions or the task's card", "question_data": "the data"}
"""What messages call settings."""

_SHOWN = 40
"""Characters of a setting that a message shows."""


@frozen
class Side:
    """One of the two: a run, and an adapter of it by its label; None for its only one."""

    run: Path
    label: str | None = None


def compare_runs(
    first: Side,
    second: Side,
    wanted: MetricLike | None = None,
    *,
    anyway: bool = False,
    salvage: bool = False,
) -> Comparison:
    """Compare what two adapters answered, by the metric wanted or the default.

    With `anyway` runs over different question sets are compared over the questions that
    both have, and different prompts are allowed. With `salvage`, what cannot be read of a
    damaged run is left out.

    Raises:
        NotComparable: the runs differ in their questions, prompts or task cards.
        ConfigurationError: a label or metric is unknown, or a label is missing.
        RunError, JournalError: a run cannot be read.
    """
    sides = first, second
    paths = list(dict.fromkeys(real(side.run) for side in sides))
    with opened(paths, salvage=salvage) as found:
        known = dict(zip(paths, found, strict=True))
        runs = [known[real(side.run)] for side in sides]
        labels = [_label(*pair) for pair in zip(sides, runs, strict=True)]
        if not anyway:
            _check(sides, runs, labels)
        chosen, _ = chosen_metrics(runs[0], () if wanted is None else (wanted,))
        rows = [answered(run.journal.rows(label)) for run, label in zip(runs, labels, strict=True)]
        one, other = zip(_names(sides, labels), rows, strict=True)
        return compare(one, other, chosen[0])


def _label(side: Side, run: Run) -> str:
    labels = run.journal.labels(side.label)
    if len(labels) == 1:
        return labels[0]
    has = f"has {len(labels)} adapters: {', '.join(labels)}" if labels else "has no answers"
    raise ConfigurationError(f"{side.run} {has}. Choose one with --adapter.")


def _names(sides: tuple[Side, Side], labels: list[str]) -> list[str]:
    """The labels; where they are equal, with the run's name before each."""
    if labels[0] != labels[1]:
        return labels
    return [f"{side.run.name}: {label}" for side, label in zip(sides, labels, strict=True)]


def _check(sides: tuple[Side, Side], runs: Sequence[Run], labels: list[str]) -> None:
    first, second = sides
    manifests = [run.manifest for run in runs if run.manifest is not None]
    if len(manifests) < len(runs):
        raise NotComparable(
            f"What {first.run} or {second.run} asked is not known without its manifest. "
            "Compare them all the same with --anyway."
        )
    old, new = (_asked(*pair) for pair in zip(manifests, labels, strict=True))
    names = [name for name in sorted(old.keys() | new.keys()) if _differ(name, old, new)]
    if names:
        found = "; ".join(f"{_NAMES.get(name, name)}: {_both(old, new, name)}" for name in names)
        raise NotComparable(
            f"{first.run} and {second.run} did not ask the same ({found}). Compare the questions "
            "that both have with --anyway."
        )


def _differ(name: str, old: Mapping[str, object], new: Mapping[str, object]) -> bool:
    """Whether a setting differs; of these two, only where both runs have it."""
    values = old.get(name), new.get(name)
    return values[0] != values[1] and not (name in _SAME and None in values)


def _both(old: Mapping[str, object], new: Mapping[str, object], name: str) -> str:
    """Both values on one line; that digests differ is all that they say."""
    if name in _DIGESTS:
        return "they differ"
    return " and ".join(_shown(one.get(name)) for one in (old, new))


def _shown(value: object) -> str:
    text = "none" if value is None else repr(str(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…'"


def _asked(manifest: Manifest, label: str) -> Mapping[str, object]:
    """The settings that decide what was asked."""
    settings: dict[str, object] = {name: getattr(manifest, name) for name in _SAME}
    record = manifest.adapters.get(label)
    options, own = (record.options, record.settings) if record else ({}, {})
    settings |= {name: own.get(name, getattr(manifest.plan, name)) for name in _PLANNED}
    return settings | {f"option {name}": options[name] for name in _PROMPTS if name in options}
