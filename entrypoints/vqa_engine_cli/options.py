"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from vqa_engine_cli.config import config_option
from vqa_engine_cli.finite import FiniteRange, Integer, Whole
from vqa_engine_cli.help import sectioned
from vqa_engine_cli.parsed import Parsed

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class Group(NamedTuple):
    """Options, in their order, that stand under one heading in a command's help, or under none."""

    heading: str | None
    options: tuple[Any, ...]


class _Run(click.Path):
    """A run directory; of a mistyped one, the nearest beside it."""

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """The path."""
        folder = Path(str(value))
        if not os.path.exists(folder):  # noqa: PTH110  no error for any name
            names = [one.name for one in folder.parent.glob("*/")]
            close = get_close_matches(folder.name, names, n=1)
            found = f"did you mean {str(folder.with_name(close[0]))!r}?" if close else _LIST
            self.fail(f"Run {str(folder)!r} does not exist; {found}", parameter, context)
        return super().convert(value, parameter, context)


_LIST = "vqa-engine runs lists all runs."

RUN = _Run(exists=True, file_okay=False, path_type=Path)


class Edge(click.ParamType[int]):
    """A number of pixels, or `none`."""

    name = "pixels"

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> int:
        """The bound in pixels, `NO_EDGE` for none."""
        from vqa_engine.adapter import NO_EDGE

        if value == "none":
            return NO_EDGE
        number: int = Whole(1).convert(cast(Any, value), parameter, context)
        return number


class Labelled(click.ParamType[tuple[str, Any]]):
    """[LABEL=]VALUE: the label, "" for all adapters, and a value of another type."""

    def __init__(self, inner: click.ParamType[Any]) -> None:
        self.name, self._inner = inner.name, inner

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[str, Any]:
        """The label and the value."""
        if isinstance(value, tuple):
            return value
        label, _, rest = str(value).rpartition("=")
        return label, self._inner.convert(rest, parameter, context)


def _by_label(
    _ctx: click.Context, _parameter: click.Parameter, pairs: tuple[tuple[str, Any], ...]
) -> dict[str, Any]:
    return dict(pairs)


def _complete_adapter(
    _ctx: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    from vqa_engine.plugins import registry

    return [
        CompletionItem(plugin.name, help=plugin.source)
        for plugin in registry.find()
        if plugin.name.startswith(typed)
    ]


def _complete_task(
    _ctx: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    from vqa_engine.questions.tasks import find

    return [CompletionItem(name) for name in find.names() if name.startswith(typed)]


adapter_options = Group(
    "Models",
    (
        click.option(
            "--adapter",
            "-a",
            "adapters",
            multiple=True,
            metavar="[LABEL=]NAME[@MODEL]",
            shell_complete=_complete_adapter,
            help="Adapter to run; repeatable, to compare several. With LABEL= one model can run "
            "twice, with settings of its own.  [default: smolvlm@builtin, the embedded model]",
        ),
        click.option(
            "--model",
            help="Checkpoint: a hub id, a local folder, or `builtin`.  [default: the adapter's "
            "own]",
        ),
        click.option("--revision", help="Branch, tag or commit of a model on the hub."),
        click.option(
            "--trust-remote-code",
            is_flag=True,
            help="Allow code that comes with the checkpoint to run.",
        ),
        click.option(
            "--adapter-option",
            "adapter_options",
            multiple=True,
            metavar="[LABEL:]KEY=VALUE",
            help="Option of the adapter itself, such as instruction=''; with LABEL: of that one "
            "only. `vqa-engine adapters NAME` lists them.",
        ),
    ),
)

plan_options = Group(
    "Generation",
    (
        click.option(
            "--prompt",
            "prompts",
            multiple=True,
            metavar="[LABEL=]TEXT|NAME",
            help="Wording of every question, such as '{question} Answer in one word.'; {options} "
            "are the choices. With LABEL= of that adapter only. Of a task also the name of "
            "one of its prompts: `default`, a family, or `none`.",
        ),
        click.option("--prompt-file", type=FILE, help="File with the wording of every question."),
        click.option(
            "--system",
            "systems",
            multiple=True,
            metavar="[LABEL=]TEXT",
            help="System message. With LABEL= of that adapter only.",
        ),
        click.option(
            "--stop", "stops", multiple=True, metavar="TEXT", help="Text that ends an answer."
        ),
        click.option(
            "--max-tokens",
            "token_limits",
            multiple=True,
            type=Labelled(Whole(1)),
            callback=_by_label,
            metavar="[LABEL=]N",
            help="Maximum number of tokens in an answer. With LABEL= of that adapter only.  "
            "[default: the task's, or 32]",
        ),
        click.option(
            "--temperature",
            "temperatures",
            multiple=True,
            type=Labelled(FiniteRange(0)),
            callback=_by_label,
            metavar="[LABEL=]T",
            help="Sampling temperature. With LABEL= of that adapter only.  [default: 0, greedy "
            "decoding]",
        ),
        click.option(
            "--seed",
            type=Integer(),
            default=0,
            show_default=True,
            help="Random seed, of --sample and of generation at a temperature above 0.",
        ),
        click.option(
            "--choose",
            type=click.Choice(["likelihood", "likelihood-text"]),
            help="Answer multiple choice with the likeliest option instead of generated text, by "
            "its letter or by its text (per byte).  [default: generate]",
        ),
        click.option(
            "--logprobs", is_flag=True, help="Record the log-probability of each generated answer."
        ),
        click.option(
            "--prefill-step",
            type=Whole(1),
            help="Prompt tokens computed at a time; fewer need less memory.",
        ),
        click.option(
            "--image-longest-edge",
            type=Edge(),
            metavar="PIXELS|none",
            help="Shrink larger images to this many pixels (may change answers); `none` lifts the "
            "bound that an adapter has of its own, such as mlx_vlm's 1536.",
        ),
        click.option(
            "--kv-bits",
            type=click.Choice(["2", "3", "4", "6", "8"]),
            help="Quantise the KV cache to this many bits (may change answers).",
        ),
    ),
)

python_option = click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="NAME=PATH",
    help="Python interpreter of one adapter, for an environment of its own; repeatable.",
)

process_options = Group(
    "Processes",
    (
        click.option(
            "--isolation",
            type=click.Choice(["process", "inline"]),
            default="process",
            show_default=True,
            help="Run each model in a worker process, or in this process (for debugging).",
        ),
        python_option,
        click.option(
            "--load-timeout",
            type=FiniteRange(0, min_open=True),
            default=600.0,
            show_default=True,
            help="Time limit for loading a model, in seconds.",
        ),
        click.option(
            "--answer-timeout",
            type=FiniteRange(0, min_open=True),
            default=120.0,
            show_default=True,
            help="Time limit for one question, in seconds; after it the worker is restarted.",
        ),
    ),
)

place_options = Group(
    "Places",
    (
        click.option(
            "--place",
            "places",
            multiple=True,
            type=Parsed("place", "vqa_engine.crew.place:Address.parse"),
            metavar="PLACE",
            help="Where to run each model: cuda:0, ray://auto?gpus=1&count=4, …; repeatable, to "
            "run it in several places at once.  [default: one worker on this machine]",
        ),
        click.option(
            "--workers",
            type=Whole(1, 1000),
            metavar="N",
            help="Run N workers of each model on this machine, spread over its NVIDIA GPUs.",
        ),
        click.option(
            "--parallel",
            is_flag=True,
            help="Run the adapters side by side, as far as places and memory allow.",
        ),
    ),
)

memory_options = Group(
    "Memory",
    (
        click.option(
            "--memory-budget",
            type=Parsed("size", "vqa_engine.memory.budget:parse_size"),
            metavar="SIZE",
            help="Memory that a model may use, such as 6GiB.  [default: what the machine offers]",
        ),
        click.option(
            "--memory",
            type=click.Choice(["fast", "saver"]),
            default="fast",
            show_default=True,
            help="`fast` uses what the budget allows; `saver` leaves memory to others and is "
            "slower.",
        ),
        click.option(
            "--lossy",
            is_flag=True,
            help="If memory is short, allow cheaper plans that may change answers (recorded on "
            "each).",
        ),
    ),
)

question_options = Group(
    "Questions",
    (
        click.option(
            "--questions",
            metavar="SET",
            help="A table (.csv, .tsv, .xlsx, .parquet), a .jsonl or .json file, a folder of "
            "pictures with --ask, or `shapes:seed=3,count=500`.  [default: the task's, or "
            "shapes]",
        ),
        click.option(
            "--task",
            metavar="NAME|CARD",
            shell_complete=_complete_task,
            help="A benchmark by name (`vqa-engine tasks` lists them), or a task card (.toml).",
        ),
        click.option("--annotations", type=FILE, help="VQA v2 annotations file."),
        click.option(
            "--images",
            type=FOLDER,
            help="Folder of the images.  [default: that of the questions file]",
        ),
        click.option(
            "--columns",
            "--column",
            multiple=True,
            metavar="PART=COLUMN",
            help="Column of a part (image, question, answers, id, choices, right) where its name "
            "does not say it; repeatable.",
        ),
        click.option(
            "--ask", metavar="QUESTION", help="One question for all pictures of a folder."
        ),
        click.option(
            "--choices",
            default="given",
            show_default=True,
            metavar="ORDER",
            help="Order of the choices: given, shuffled:SEED, circular (every rotation), or all.",
        ),
        click.option("--limit", type=Whole(1), metavar="N", help="Ask only the first N questions."),
        click.option(
            "--sample", type=Whole(1), metavar="N", help="Ask N questions drawn at random."
        ),
    ),
)

metric_option = click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Metric, optionally with figures beyond the mean (exact+macro:LABEL); repeatable.  "
    "[default: by what the questions have]",
)


def _only(ctx: click.Context, parameter: click.Parameter, given: bool) -> bool:
    """Add a flag to the set of those that were given."""
    chosen = ctx.params.setdefault("only", frozenset())
    if given:
        ctx.params["only"] = chosen | {(parameter.name or "").removeprefix("only_")}
    return given


only_options = Group(
    None,
    tuple(
        click.option(
            f"--{name}", f"only_{name}", is_flag=True, expose_value=False, callback=_only, help=text
        )
        for name, text in (
            ("wrong", "Only answers that the first metric finds wrong."),
            ("failed", "Only questions without an answer."),
            ("differ", "Only questions that the adapters answered differently."),
        )
    ),
)

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "latex", "csv", "json"]),
    default="table",
    show_default=True,
    help="How to write the scores.",
)

salvage_option = click.option(
    "--salvage", is_flag=True, help="Leave out what cannot be read of a damaged run."
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

verbose_option = click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Print every answer, every memory action and every adapter message.",
)


quiet_option = click.option(
    "--quiet", "-q", is_flag=True, help="Print only the scores, warnings and errors."
)


def options(*groups: Any) -> Callable[[Command], Command]:
    """A decorator that adds `--config`, groups of options and single ones, in this order."""
    flat: list[tuple[str | None, Any]] = [(None, config_option)]
    for group in groups:
        heading, members = group if isinstance(group, Group) else Group(None, (group,))
        flat.extend((heading, one) for one in members)

    def add(command: Command) -> Command:
        for heading, option in reversed(flat):
            command = option(command)
            if heading is not None:
                sectioned(heading, command)
        return command

    return add
