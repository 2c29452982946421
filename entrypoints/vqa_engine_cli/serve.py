"""`vqa-engine serve`: adapters behind an OpenAI-compatible address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vqa_engine_cli.building import policy, specs
from vqa_engine_cli.finite import Whole
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import Group, adapter_options, memory_options, options, process_options
from vqa_engine_cli.terminal import echo

if TYPE_CHECKING:
    from vqa_engine.serving.server import Settings

_TIMES_AND_PYTHON = Group("Processes", process_options.options[1:])
"""Not --isolation: a server always has its models in workers."""


@click.command(cls=Command, short_help="Serve adapters behind an OpenAI-compatible address.")
@options(
    adapter_options,
    memory_options,
    _TIMES_AND_PYTHON,
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option(
        "--port",
        type=Whole(0, 65535),
        default=8931,
        show_default=True,
        help="Port to listen on; 0 for any free one.",
    ),
    click.option(
        "--allow-host",
        "names",
        multiple=True,
        metavar="NAME",
        help="Host name that clients may use beside --host; repeatable.",
    ),
    click.option(
        "--api-key-env",
        default="VQA_ENGINE_API_KEY",
        show_default=True,
        metavar="VARIABLE",
        help="Environment variable with the API key, required on any but a loopback address.",
    ),
    click.option(
        "--max-tokens",
        type=Whole(1),
        default=512,
        show_default=True,
        help="Longest answer, in tokens, whatever a request asks for.",
    ),
    click.option(
        "--queue",
        type=Whole(1),
        default=512,
        show_default=True,
        metavar="N",
        help="Most requests waiting; further ones get status 429.",
    ),
    click.option(
        "--instruction",
        is_flag=True,
        help="Append each adapter's own short-answer instruction to questions.",
    ),
    click.option(
        "--journal",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="RUN",
        help="Run directory that keeps every answer.",
    ),
)
def serve(**given: Any) -> None:
    """Serve adapters behind an OpenAI-compatible address.

    A request is one question about one picture, sent as a data: URL. Each adapter loads with
    its first request, in a worker process; as many stay loaded as fit in the memory budget.

    \b
    Examples:
      vqa-engine serve
      vqa-engine serve --adapter smolvlm --adapter llava_mlx --memory-budget 24GiB
    """
    from vqa_engine.serving.server import serve as run

    adapters = specs(given)
    labels = [one.label for one in adapters]
    run(adapters, _settings(given), lambda running: _announce(running.url, labels))


def _settings(given: dict[str, Any]) -> Settings:
    from vqa_engine.serving.server import Settings
    from vqa_engine.worker import Timeouts

    return Settings(
        host=given["host"],
        port=given["port"],
        names=given["names"],
        key_variable=given["api_key_env"],
        most_waiting=given["queue"],
        most_tokens=given["max_tokens"],
        instruction=given["instruction"],
        journal=given["journal"],
        policy=policy(given),
        timeouts=Timeouts(load=given["load_timeout"], answer=given["answer_timeout"]),
    )


def _announce(url: str, labels: list[str]) -> None:
    echo(f"Serving {', '.join(labels)} at {url} (Ctrl-C stops).", err=True)
