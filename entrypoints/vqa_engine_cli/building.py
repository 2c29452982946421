"""What the options that several commands share build: adapters, engine, plan, questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

MAX_TOKENS = 32
"""Tokens of an answer where neither the command nor a task says how many."""

if TYPE_CHECKING:
    from vqa_engine import AdapterSpec, Engine, GenerationPlan, Observer, QuestionSet
    from vqa_engine.memory.policy import MemoryPolicy


def specs(given: dict[str, Any]) -> list[AdapterSpec]:
    """The adapters that the options name, or the default one."""
    from attrs import evolve

    from vqa_engine.plugins.resolution import DEFAULT

    names = given["adapters"] or (DEFAULT.name,)
    _check_model(names, given)
    pythons = _pythons_of(names, given)
    found = [_spec(name, names, pythons, given) for name in names]
    if given["adapters"] or given["model"]:
        return found
    return [evolve(one, model=evolve(one.model, model=DEFAULT.model.model)) for one in found]


def interpreters(pythons: tuple[str, ...]) -> dict[str, Path]:
    """The interpreter that `--python` gives to each adapter, by the adapter's name."""
    usage = "--python must be NAME=PATH, such as smolvlm=other-env/bin/python."
    pairs = _pairs(pythons, usage)
    if not all(name and path for name, path in pairs.items()):
        raise click.UsageError(usage)
    return {name: Path(path) for name, path in pairs.items()}


def engine(
    given: dict[str, Any], observer: Observer, *, trace: bool = False, **more: Any
) -> Engine:
    """The engine that the options describe; `more` goes to its constructor as it is.

    With `trace` each answer says what its model was given.
    """
    from attrs import evolve

    from vqa_engine import Engine
    from vqa_engine.worker import Timeouts

    allowed = policy(given)
    return Engine(
        adapters=specs(given),
        plan=evolve(plan(given), trace=trace),
        isolation=given["isolation"],
        timeouts=Timeouts(load=given["load_timeout"], answer=given["answer_timeout"]),
        memory_budget=allowed.budget,
        lossy=allowed.lossy,
        memory_saver=allowed.saver,
        observer=observer,
        **more,
    )


def places(given: dict[str, Any]) -> tuple[str, ...]:
    """The addresses of the places that the options name."""
    workers: int | None = given["workers"]
    if workers is None:
        return tuple(given["places"])
    if given["places"]:
        raise click.UsageError(
            "Give --workers or --place, not both; for N workers on one device write "
            "--place 'local://cuda:0?count=N'."
        )
    return (f"local://?count={workers}",) if workers > 1 else ()


def plan(given: dict[str, Any]) -> GenerationPlan:
    """The generation plan that the options describe."""
    from vqa_engine import GenerationPlan

    return GenerationPlan(
        max_tokens=given["max_tokens"] or MAX_TOKENS,
        temperature=given["temperature"],
        seed=given["seed"],
        prefill_step=given["prefill_step"],
        image_longest_edge=given["image_longest_edge"],
        kv_bits=int(given["kv_bits"]) if given["kv_bits"] else None,
    )


def policy(given: dict[str, Any]) -> MemoryPolicy:
    """What the options allow of memory."""
    from vqa_engine.memory.budget import parse_size
    from vqa_engine.memory.policy import MemoryPolicy

    budget = given["memory_budget"]
    return MemoryPolicy(
        budget=parse_size(budget) if budget else None,
        lossy=given["lossy"],
        saver=given["memory"] == "saver",
    )


def question_set(given: dict[str, Any]) -> QuestionSet:
    """The question set that the options name."""
    from vqa_engine.questions import tasks

    if given["task"] is None:
        return tasks.presented(_files(given), given["choices"], given["prompt"], **_part(given))
    task = tasks.find.task(given["task"])
    files = ("questions", "annotations", "images", "columns", "ask")
    own = _files(given) if any(given[name] for name in files) else None
    found = tasks.load_task(
        task, questions=own, choices=given["choices"], prompt=given["prompt"], **_part(given)
    )
    if given.get("max_tokens", 0) is None:
        given["max_tokens"] = task.card.prompt.max_tokens
    return found


def _files(given: dict[str, Any]) -> QuestionSet:
    from vqa_engine import load_questions

    return load_questions(
        given["questions"] or "shapes",
        annotations=given["annotations"],
        images=given["images"],
        columns=_pairs(given["columns"], "--columns must be PART=COLUMN, such as image=file."),
        ask=given["ask"],
    )


def _part(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("limit", "sample", "seed")}


def _pythons_of(texts: tuple[str, ...], given: dict[str, Any]) -> dict[str, Path]:
    """The interpreters, of adapters that are asked for and of no others."""
    pythons = interpreters(given.get("pythons", ()))
    names = {text.partition("@")[0] for text in texts}
    for name in pythons.keys() - names:
        asked = ", ".join(sorted(names))
        raise click.UsageError(
            f"--python names {name!r}, but the adapters of this run are: {asked}."
        )
    return pythons


def _check_model(names: tuple[str, ...], given: dict[str, Any]) -> None:
    """One model for each adapter, given in one way, and a revision of nothing else."""
    if len(names) > 1 and (given["model"] or given["revision"]):
        raise click.UsageError(
            "With several adapters give each its model: --adapter NAME@MODEL, and no "
            "--model or --revision."
        )
    if given["model"] and any("@" in name for name in names):
        raise click.UsageError("Give the model once: as --adapter NAME@MODEL or as --model.")
    if given["revision"] and not given["adapters"] and not given["model"]:
        raise click.UsageError(
            "--revision is of a model on the hub, and the default model is the embedded one: "
            "give --model or --adapter as well."
        )


def _spec(
    text: str, names: tuple[str, ...], pythons: dict[str, Path], given: dict[str, Any]
) -> AdapterSpec:
    from vqa_engine import AdapterSpec, ModelRef

    name, _, model = text.partition("@")
    reference = ModelRef(
        model=model or given["model"],
        revision=given["revision"],
        trust_remote_code=given["trust_remote_code"],
        options=_options_of(name, names, given),
    )
    return AdapterSpec(name=name, model=reference, label=text, python=pythons.get(name))


def _options_of(name: str, names: tuple[str, ...], given: dict[str, Any]) -> dict[str, str]:
    """The options for one adapter: those without a name, and those with its own."""
    named = {text.partition("@")[0] for text in names}
    pairs = _pairs(given["adapter_options"], "--adapter-option must be [NAME:]KEY=VALUE.")
    mine = {}
    for key, value in pairs.items():
        owner, colon, rest = key.partition(":")
        if not colon or owner not in named:
            mine[key] = value
        elif owner == name:
            mine[rest] = value
    return mine


def _pairs(given: tuple[str, ...], usage: str) -> dict[str, str]:
    if any("=" not in pair for pair in given):
        raise click.UsageError(usage)
    return dict(pair.partition("=")[::2] for pair in given)
