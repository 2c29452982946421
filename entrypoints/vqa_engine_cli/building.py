"""What the options that several commands share build: adapters, engine, plan, questions."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

MAX_TOKENS = 32
"""Tokens of an answer where neither the command nor a task says how many."""

_LARGEST_PROMPT = 1 << 20
"""Bytes of a file with the wording of a question."""

if TYPE_CHECKING:
    from vqa_engine import AdapterSpec, Engine, GenerationPlan, Observer, QuestionSet
    from vqa_engine.memory.policy import MemoryPolicy

    Specs = tuple[AdapterSpec, ...]

ALL = ""
"""In place of a label: what is meant for all adapters."""

_NUMBERS = {"max_tokens": "token_limits", "temperature": "temperatures"}
"""Fields of the plan that an adapter may have of its own, and the options that give them."""


def specs(given: dict[str, Any]) -> list[AdapterSpec]:
    """The adapters that the options name, or the default one."""
    from attrs import evolve

    from vqa_engine import AdapterSpec
    from vqa_engine.plugins.resolution import DEFAULT, as_default

    texts = given["adapters"] or (DEFAULT.name,)
    named = tuple(AdapterSpec.parse(text) for text in texts)
    _check_model(named, given)
    _check_labels(named, given)
    pythons = _pythons_of(named, given)
    found = [_spec(one, named, pythons, given) for one in named]
    if given["adapters"]:
        return found
    ours = as_default(found[0])
    if given["model"]:
        return [ours]
    return [evolve(ours, model=evolve(ours.model, model=DEFAULT.model.model), label=DEFAULT.label)]


def has_demo(given: dict[str, Any]) -> bool:
    """Whether the embedded model is among those that the options name."""
    from vqa_engine import BUILTIN

    return any(spec.model.model == BUILTIN for spec in specs(given))


def interpreters(pythons: tuple[str, ...]) -> dict[str, Path]:
    """The interpreter that `--python` gives to each adapter, by the adapter's name."""
    usage = "--python must be NAME=PATH, such as smolvlm=other-env/bin/python."
    pairs = pairs_of(pythons, usage)
    if not all(name and path for name, path in pairs.items()):
        raise click.UsageError(usage)
    return {name: Path(path) for name, path in pairs.items()}


def early_worker(given: dict[str, Any]) -> AbstractContextManager[None]:
    """A worker that starts while this process imports what it needs, where the options want one.

    The first answer comes 0.12 to 0.17 s sooner (two cores).
    """
    elsewhere = given.get("places") or given.get("workers") or given.get("parallel")
    if given["isolation"] != "process" or given["pythons"] or elsewhere:
        return nullcontext()
    from vqa_engine.worker.ahead import started_ahead

    return started_ahead()


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
    from vqa_engine import AdapterSpec, GenerationPlan

    labels = {AdapterSpec.parse(text).label for text in given["adapters"]}
    return GenerationPlan(
        prompt=_prompt(given, labels),
        system=_labelled(given["systems"], labels).get(ALL),
        stop=given["stops"],
        max_tokens=given["token_limits"].get(ALL, MAX_TOKENS),
        temperature=given["temperatures"].get(ALL, 0.0),
        seed=given["seed"],
        choose=given["choose"],
        logprobs=given["logprobs"],
        prefill_step=given["prefill_step"],
        image_longest_edge=given["image_longest_edge"],
        kv_bits=int(given["kv_bits"]) if given["kv_bits"] else None,
    )


def has_typed_prompt(given: dict[str, Any]) -> bool:
    """Whether `--prompt` or the file words the questions of all adapters."""
    from vqa_engine import AdapterSpec

    labels = {AdapterSpec.parse(text).label for text in given["adapters"]}
    return _prompt(given, labels) is not None


def _prompt(given: dict[str, Any], labels: set[str]) -> str | None:
    """The wording for all adapters, where it needs no more of a question than text and choices."""
    text = _wording(given, labels)
    return text if text is not None and _is_plain(text) else None


def _tasks_prompt(given: dict[str, Any]) -> str | None:
    """What the question set makes of `--prompt`: the name of a task's prompt, or a template
    with what only a task has."""
    from vqa_engine import AdapterSpec

    labels = {AdapterSpec.parse(text).label for text in given.get("adapters", ())}
    text = _wording(given, labels)
    if text is not None and _is_plain(text):
        return "none" if given["task"] else None
    return text


def check_prompt(given: dict[str, Any]) -> None:
    """Refuse a `--prompt` for a question that has no more than its text and choices.

    Raises:
        click.UsageError: it names a task's prompt, or has no or other places to fill.
    """
    text = _tasks_prompt({**given, "task": None})
    if text is not None:
        raise click.UsageError(
            f"The prompt {text!r} must have {{question}}, and may have {{options}}; write a "
            "template such as '{question} Answer in one word.'"
        )


def _wording(given: dict[str, Any], labels: set[str]) -> str | None:
    """`--prompt` without a label, or the file; a shell gives a line break as two characters."""
    text = _labelled(given.get("prompts", ()), labels).get(ALL)
    file: Path | None = given.get("prompt_file")
    if file is None:
        return None if text is None else text.replace("\\n", "\n")
    if text is not None:
        raise click.UsageError("Give the prompt once: as --prompt or as --prompt-file.")
    return _text_of(file).rstrip("\n")


def _text_of(file: Path) -> str:
    from vqa_engine.files import read_regular

    try:
        return read_regular(file, _LARGEST_PROMPT).decode()
    except OSError as error:
        raise click.UsageError(
            f"--prompt-file: {file} cannot be read: {error.strerror}."
        ) from error
    except UnicodeError as error:
        raise click.UsageError(f"--prompt-file: {file} is not UTF-8.") from error


def _is_plain(text: str) -> bool:
    from vqa_engine.adapter.records import OPTIONS, QUESTION

    return QUESTION in text and set(re.findall(r"\{\w+\}", text)) <= {QUESTION, OPTIONS}


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
        return tasks.presented(
            _files(given), given["choices"], _tasks_prompt(given), **_part(given)
        )
    task = tasks.find.task(given["task"])
    own = _files(given) if given["questions"] or given["ask"] else None
    for name in ("annotations", "images", "columns"):
        if own is None and given[name]:
            raise click.UsageError(
                f"--{name} goes with --questions: the card of {task.name} describes its own data."
            )
    found = tasks.load_task(
        task, questions=own, choices=given["choices"], prompt=_tasks_prompt(given), **_part(given)
    )
    if task.card.prompt.max_tokens is not None:
        given.get("token_limits", {}).setdefault(ALL, task.card.prompt.max_tokens)
    return found


def _files(given: dict[str, Any]) -> QuestionSet:
    from vqa_engine import load_questions

    return load_questions(
        given["questions"] or None,
        annotations=given["annotations"],
        images=given["images"],
        columns=pairs_of(given["columns"], "--columns must be PART=COLUMN, such as image=file."),
        ask=given["ask"],
    )


def _part(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("limit", "sample", "seed")}


def _pythons_of(named: Specs, given: dict[str, Any]) -> dict[str, Path]:
    """The interpreters, of adapters that are asked for and of no others."""
    pythons = interpreters(given.get("pythons", ()))
    names = {one.name for one in named}
    for name in pythons.keys() - names:
        asked = ", ".join(sorted(names))
        raise click.UsageError(
            f"--python names {name!r}, but the adapters of this run are: {asked}."
        )
    return pythons


def _check_model(named: Specs, given: dict[str, Any]) -> None:
    """One model for each adapter, given in one way, and a revision of nothing else."""
    if len(named) > 1 and (given["model"] or given["revision"]):
        raise click.UsageError(
            "With several adapters give each its model: --adapter NAME@MODEL, and no "
            "--model or --revision."
        )
    if given["model"] and any(one.model.model for one in named):
        raise click.UsageError("Give the model once: as --adapter NAME@MODEL or as --model.")
    if given["revision"] and not given["adapters"] and not given["model"]:
        raise click.UsageError(
            "--revision is of a model on the hub, and the default model is the embedded one: "
            "give --model or --adapter as well."
        )


def _check_labels(named: Specs, given: dict[str, Any]) -> None:
    """A label of a number must be that of an adapter; of a text it may be part of the text."""
    known = {one.label for one in named}
    for key, option in _NUMBERS.items():
        for label in given.get(option, {}).keys() - known - {ALL}:
            raise click.UsageError(
                f"--{key.replace('_', '-')} {label}=… names no adapter of this command; the "
                f"labels are: {', '.join(sorted(known))}."
            )


def _spec(
    one: AdapterSpec, named: Specs, pythons: dict[str, Path], given: dict[str, Any]
) -> AdapterSpec:
    from attrs import evolve

    model = evolve(
        one.model,
        model=one.model.model or given["model"],
        revision=given["revision"],
        trust_remote_code=given["trust_remote_code"],
        options=_options_of(one, named, given),
    )
    labels = {each.label for each in named}
    own = {
        key: mine[one.label].replace("\\n", "\n")
        for key, option in (("prompt", "prompts"), ("system", "systems"))
        if one.label in (mine := _labelled(given.get(option, ()), labels))
    } | {
        key: given[option][one.label]
        for key, option in _NUMBERS.items()
        if one.label in given.get(option, {})
    }
    return evolve(one, model=model, python=pythons.get(one.name), settings=own)


def _options_of(one: AdapterSpec, named: Specs, given: dict[str, Any]) -> dict[str, str]:
    """The options for one adapter: those without a name, and those with its own."""
    owners = {owner for each in named for owner in (each.name, each.label)}
    pairs = pairs_of(given["adapter_options"], "--adapter-option must be [LABEL:]KEY=VALUE.")
    mine = {}
    for key, value in pairs.items():
        owner, colon, rest = key.partition(":")
        if not colon or owner not in owners:
            mine[key] = value
        elif owner in {one.name, one.label}:
            mine[rest] = value
    return mine


def _labelled(texts: tuple[str, ...], labels: set[str]) -> dict[str, str]:
    """Texts by the label in front of them; `ALL` where none is."""
    found = {}
    for text in texts:
        label, equals, rest = text.partition("=")
        mine = equals and label in labels
        found[label if mine else ALL] = rest if mine else text
    return found


def pairs_of(given: tuple[str, ...], usage: str) -> dict[str, str]:
    """What KEY=VALUE texts say; without the sign a usage error."""
    if any("=" not in pair for pair in given):
        raise click.UsageError(usage)
    return dict(pair.partition("=")[::2] for pair in given)
