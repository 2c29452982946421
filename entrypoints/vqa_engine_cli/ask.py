"""`vqa-engine ask`: one image, one question, one answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vqa_engine_cli.building import check_prompt, early_worker, engine, has_demo
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import (
    FILE,
    adapter_options,
    json_option,
    memory_options,
    options,
    plan_options,
    process_options,
    verbose_option,
)
from vqa_engine_cli.terminal import echo


@click.command(cls=Command, short_help="Ask one question about one image.")
@click.argument("image", type=FILE)
@click.argument("question")
@options(
    adapter_options,
    plan_options,
    memory_options,
    process_options,
    click.option("--choice", "choices", multiple=True, help="An option of a multiple choice."),
    click.option(
        "--show-prompt",
        is_flag=True,
        help="Print also what the model is given: its whole prompt, the picture's size, tokens.",
    ),
    json_option,
    verbose_option,
)
def ask(image: Path, question: str, as_json: bool, verbose: bool, **given: Any) -> None:
    """Ask one QUESTION about one IMAGE, and print the answer.

    \b
    Example:
      vqa-engine ask --adapter smolvlm kitchen.jpg "What colour is the kettle?"
    """
    click.get_current_context().with_resource(early_worker(given))
    from vqa_engine.plugins.resolution import DEMO
    from vqa_engine_cli.display import observer, show_answer, show_trace

    if given["choose"] and not given["choices"]:
        raise click.UsageError("--choose needs options to choose from; give them as --choice.")
    check_prompt(given)
    if has_demo(given):
        echo(f"{DEMO}; for photographs name a model, such as --adapter smolvlm.", err=True)
    show_prompt = given.pop("show_prompt")
    with engine(given, observer(quiet=True, verbose=verbose), trace=show_prompt) as running:
        for label in running.labels:
            answer = running.ask(image, question, choices=given["choices"], adapter=label)
            if show_prompt and not as_json:
                show_trace(label, answer)
            show_answer(label, answer, as_json=as_json, several=len(running.labels) > 1)
