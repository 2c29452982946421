"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from vqa_engine_cli.config import config_option

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _complete_adapter(
    _ctx: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    from vqa_engine.plugins import registry

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
