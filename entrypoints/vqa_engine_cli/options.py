"""Options that several commands share, and what they build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from vqa_engine_cli.config import config_option

if TYPE_CHECKING:
    from vqa_engine import AdapterSpec, Engine, GenerationPlan, Observer, QuestionSet
    from vqa_engine.memory.policy import MemoryPolicy

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _complete_adapter(
    _ctx: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    from vqa_engine import registry

    return [
        CompletionItem(plugin.name, help=plugin.source)
        for plugin in registry.find()
        if plugin.name.startswith(typed)
    ]


adapter_options = (
    click.option(
        "--adapter",
        "-a",
        "adapters",
        multiple=True,
        metavar="NAME[@MODEL]",
        shell_complete=_complete_adapter,
        help="Adapter to run; repeat it to compare several.  "
        "[default: smolvlm@builtin, the embedded model]",
    ),
    click.option(
        "--model",
        help="Checkpoint: a hub id, a local folder, or `builtin`.  [default: the adapter's]",
    ),
    click.option("--revision", help="Branch, tag or commit that pins a hub id."),
    click.option(
        "--trust-remote-code", is_flag=True, help="Let code that comes with the checkpoint run."
    ),
    click.option(
        "--adapter-option",
        "adapter_options",
        multiple=True,
        metavar="[NAME:]KEY=VALUE",
        help="An option of the adapter's own, such as instruction=''; with NAME: of that one only.",
    ),
)

plan_options = (
    click.option("--max-tokens", type=click.IntRange(1), default=32, show_default=True),
    click.option(
        "--temperature",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="0 is greedy.",
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="Of --sample, and of generation when the temperature is above 0.",
    ),
    click.option(
        "--prefill-step",
        type=click.IntRange(1),
        help="Prompt tokens computed at once; smaller needs less memory.",
    ),
    click.option(
        "--image-longest-edge",
        type=click.IntRange(1),
        help="Shrink larger images to this many pixels (changes answers).",
    ),
    click.option(
        "--kv-bits",
        type=click.Choice(["2", "3", "4", "6", "8"]),
        help="Quantise the KV cache (changes answers).",
    ),
)

python_option = click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="NAME=PATH",
    help="Interpreter of an adapter's worker, for an environment of its own.",
)

process_options = (
    click.option(
        "--isolation",
        type=click.Choice(["process", "inline"]),
        default="process",
        show_default=True,
        help="Run each model in a worker process, or in this one (for debugging).",
    ),
    python_option,
    click.option(
        "--load-timeout",
        type=click.FloatRange(0, min_open=True),
        default=600.0,
        show_default=True,
        help="Seconds that loading a model may take.",
    ),
    click.option(
        "--answer-timeout",
        type=click.FloatRange(0, min_open=True),
        default=120.0,
        show_default=True,
        help="Seconds that a question may take before its worker counts as hung.",
    ),
)

memory_options = (
    click.option(
        "--memory-budget",
        metavar="SIZE",
        help="Bytes a model may hold, such as 6GiB.  [default: what the machine offers]",
    ),
    click.option(
        "--lossy",
        is_flag=True,
        help="Allow cheaper plans that may change answers (recorded on each) when memory is short.",
    ),
)

question_options = (
    click.option(
        "--questions",
        default="shapes",
        show_default=True,
        metavar="SET",
        help="`shapes`, `shapes:seed=3,count=500`, a .jsonl file, or a VQA v2 questions file.",
    ),
    click.option("--annotations", type=FILE, help="VQA v2 annotations file."),
    click.option("--images", type=FOLDER, help="Folder of the images.  [default: the file's]"),
    click.option("--limit", type=click.IntRange(1), help="Ask the first N questions only."),
    click.option("--sample", type=click.IntRange(1), help="Ask N questions drawn with --seed."),
)

metric_option = click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Metric profile; repeatable.  [default: vqa-v2-normalised and vqa-v2-official]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout, for programs.")

verbose_option = click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Tell each answer, each memory action, and what an adapter notes.",
)


def options(*groups: Any) -> Callable[[Command], Command]:
    """A decorator that adds `--config` and groups of options, in the order given."""
    flat = [config_option]
    for group in groups:
        flat.extend(group if isinstance(group, tuple) else (group,))

    def add(command: Command) -> Command:
        for option in reversed(flat):
            command = option(command)
        return command

    return add


def specs(given: dict[str, Any]) -> list[AdapterSpec]:
    """The adapters that the options name, or the default one."""
    from attrs import evolve

    from vqa_engine.contender import DEFAULT

    names = given["adapters"] or (DEFAULT.name,)
    pythons = _pythons_of(names, given)
    if not given["adapters"] and given["model"] is None:
        return [evolve(DEFAULT, python=pythons.get(DEFAULT.name))]
    if len(names) > 1 and (given["model"] or given["revision"]):
        raise click.UsageError(
            "With several adapters give each its model: --adapter NAME@MODEL, and no "
            "--model or --revision."
        )
    return [_spec(name, pythons, given) for name in names]


def interpreters(pythons: tuple[str, ...]) -> dict[str, Path]:
    """The interpreter that `--python` gives to each adapter, by the adapter's name."""
    usage = "--python takes NAME=PATH, such as smolvlm=other-env/bin/python."
    pairs = _pairs(pythons, usage)
    if not all(name and path for name, path in pairs.items()):
        raise click.UsageError(usage)
    return {name: Path(path) for name, path in pairs.items()}


def engine(given: dict[str, Any], observer: Observer, **more: Any) -> Engine:
    """The engine that the options describe; `more` goes to its constructor as it is."""
    from vqa_engine import Engine
    from vqa_engine.worker import Timeouts

    allowed = policy(given)
    return Engine(
        adapters=specs(given),
        plan=plan(given),
        isolation=given["isolation"],
        timeouts=Timeouts(load=given["load_timeout"], answer=given["answer_timeout"]),
        memory_budget=allowed.budget,
        lossy=allowed.lossy,
        observer=observer,
        **more,
    )


def plan(given: dict[str, Any]) -> GenerationPlan:
    """The generation plan that the options describe."""
    from vqa_engine import GenerationPlan

    return GenerationPlan(
        max_tokens=given["max_tokens"],
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
    return MemoryPolicy(budget=parse_size(budget) if budget else None, lossy=given["lossy"])


def question_set(given: dict[str, Any]) -> QuestionSet:
    """The question set that the options name."""
    from vqa_engine import load_questions

    return load_questions(
        given["questions"],
        annotations=given["annotations"],
        images=given["images"],
        limit=given["limit"],
        sample=given["sample"],
        seed=given["seed"],
    )


def _pythons_of(texts: tuple[str, ...], given: dict[str, Any]) -> dict[str, Path]:
    """The interpreters, of adapters that are asked for and of no others."""
    pythons = interpreters(given.get("pythons", ()))
    names = {text.partition("@")[0] for text in texts}
    for name in pythons.keys() - names:
        asked = ", ".join(sorted(names))
        raise click.UsageError(f"--python names {name!r}, but what runs is: {asked}.")
    return pythons


def _spec(text: str, pythons: dict[str, Path], given: dict[str, Any]) -> AdapterSpec:
    from vqa_engine import AdapterSpec, ModelRef

    name, _, model = text.partition("@")
    reference = ModelRef(
        model=model or given["model"],
        revision=given["revision"],
        trust_remote_code=given["trust_remote_code"],
        options=_options_of(name, given),
    )
    return AdapterSpec(name=name, model=reference, label=text, python=pythons.get(name))


def _options_of(name: str, given: dict[str, Any]) -> dict[str, str]:
    """The options for one adapter: those without a name, and those with its own."""
    named = {text.partition("@")[0] for text in given["adapters"]}
    pairs = _pairs(given["adapter_options"], "--adapter-option takes [NAME:]KEY=VALUE.")
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
