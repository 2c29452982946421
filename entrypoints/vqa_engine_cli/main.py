"""The entry point: the command group, logging, signals and exit codes.

`--help` imports no more than click; each command imports the engine when it runs.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem
from click_default_group import DefaultGroup

from vqa_engine_cli.adapters import adapters
from vqa_engine_cli.adopting import adopting
from vqa_engine_cli.ask import ask
from vqa_engine_cli.check import check
from vqa_engine_cli.compare import compare
from vqa_engine_cli.docs import docs
from vqa_engine_cli.doctor import doctor
from vqa_engine_cli.export import export
from vqa_engine_cli.fit import fit
from vqa_engine_cli.help import did_you_mean, format_commands, help_command, more
from vqa_engine_cli.memory import memory
from vqa_engine_cli.new_adapter import new_adapter
from vqa_engine_cli.parity import parity
from vqa_engine_cli.pull import pull
from vqa_engine_cli.report import report
from vqa_engine_cli.run import run
from vqa_engine_cli.runs import runs
from vqa_engine_cli.score import score
from vqa_engine_cli.selftest import selftest
from vqa_engine_cli.serve import serve
from vqa_engine_cli.show import show
from vqa_engine_cli.status import status
from vqa_engine_cli.streams import ReaderGone, Unwritten, prepare
from vqa_engine_cli.tasks import tasks
from vqa_engine_cli.terminal import VisibleFormatter, echo, one_line, style
from vqa_engine_cli.view import view

_EXIT_ERROR = 1
_EXIT_INTERRUPTED = 130
_EXIT_TERMINATED = 143

EXAMPLES = """
\b
Examples:
  vqa-engine                                     run the demo, offline
  vqa-engine -a smolvlm --questions vqa.jsonl --limit 10
  vqa-engine ask kitchen.jpg "What colour is the kettle?"
  vqa-engine help run                            the options of a command
"""

_EXIT_CODES = """
\b
Exit codes:
  0    done, every question has an answer
  1    an error; one sentence on stderr says what and what to do
  2    the command line is wrong
  3    done, but some questions have no answer, or an adapter could not run
  130  interrupted (Ctrl-C); the same command continues
  143  terminated; the same command continues
"""


class Terminated(KeyboardInterrupt):
    """SIGTERM: what Ctrl-C is, but another process sent it."""


class Commands(DefaultGroup):
    """Turns the errors of the tree into one sentence and an exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["json"] = "--json" in args
        if ctx.resilient_parsing and not args:
            # Completing the first word: the default command would hide all others.
            return click.Group.parse_args(self, ctx, args)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.commands and not ctx.resilient_parsing:
            ctx.fail(f"No such command {name!r}. {did_you_mean(name, self.commands)}")
        found: tuple[str | None, click.Command | None, list[str]]
        found = super().resolve_command(ctx, args)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        format_commands(self.commands, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(ctx, incomplete)
        if not incomplete.startswith("-"):
            return list(found)
        default = run.make_context("run", [], parent=ctx, resilient_parsing=True)
        return [*found, *run.shell_complete(default, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _ignore_signals()
            _say_stopped(stop)
            ctx.exit(_EXIT_TERMINATED if isinstance(stop, Terminated) else _EXIT_INTERRUPTED)
        except ReaderGone:
            ctx.exit(0)
        except Unwritten:
            raise  # to `main`: there is no stdout to put JSON on
        except click.ClickException as error:
            vars(error)["message"] = one_line(error.message)
            if not ctx.meta["json"]:
                raise
            _print_error(type(error).__name__, error.format_message())
            ctx.exit(error.exit_code)
        except (click.exceptions.Exit, click.Abort, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  a user is shown one sentence, never a traceback
            _explain(error, ctx, as_json=ctx.meta["json"])
            ctx.exit(_EXIT_ERROR)
        finally:
            if plugin := sys.modules.get("vqa_engine.worker.plugin"):
                plugin.end_all()

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """As click's; what is raised before a command begins is one sentence as well."""
        try:
            return super().main(args, *more, **extra)
        except (SystemExit, click.exceptions.Exit, click.Abort, ReaderGone, Unwritten):
            raise
        except BaseException as error:  # noqa: BLE001  as above
            _explain(error, as_json="--json" in (sys.argv if args is None else args))
            sys.exit(_EXIT_ERROR)


@click.group(
    cls=Commands,
    default="run",
    default_if_no_args=True,
    epilog=EXAMPLES + _EXIT_CODES + "\nMore: vqa-engine docs",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    *("--version", "-V"),
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _option, asked: _show_version(ctx) if asked else None,
    help="Show the version and exit.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="Log level on stderr.",
)
def cli(log_level: str) -> None:
    """Ask local vision-language models visual questions, and score the answers.

    The default command is `run`; without options it runs the demo: the built-in questions,
    put to the embedded model.
    """
    _check_folder()
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: not hasattr(record, "noted"))  # an observer shows those
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    handler.setLevel(log_level.upper())
    logging.basicConfig(level=min(logging.INFO, handler.level), handlers=[handler])


for command in (
    *(run, ask, serve, pull, parity, fit, adapters, check, doctor, selftest, new_adapter),
    *(score, compare, tasks, export, memory, show, report, view, runs, status),
    *(docs, help_command),
):
    command.epilog = more(command.name or "")
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _terminated)
    prepare()
    try:
        with adopting():
            try:
                cli(prog_name="vqa-engine")
            finally:
                _ignore_signals()
    except ReaderGone:  # of --help
        sys.exit(0)
    except Unwritten as error:
        _show(error, as_json=False)
        sys.exit(_EXIT_ERROR)


def _show_version(ctx: click.Context) -> None:
    """Not click's, which waits for a pipe that is an entry of the path."""
    from vqa_engine.interpreter import version
    from vqa_engine.plugins.metadata_files import guard

    guard()
    echo(f"vqa-engine, version {version() or 'unknown (not installed)'}")
    ctx.exit()


def _check_folder() -> None:
    """See that there is a current folder: all relative paths start from it.

    Raises:
        ClickException: it was deleted.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise click.ClickException(
            f"The current folder cannot be used: {error.strerror}. Change to another one."
        ) from error


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Leave through the `finally` clauses, so that no worker stays behind."""
    raise Terminated


def _ignore_signals() -> None:
    """Nothing but the end is left, and a second Ctrl-C would cut it short with a traceback."""
    if signal.getsignal(signal.SIGTERM) is _terminated:  # the process is ours
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)


def _say_stopped(stop: KeyboardInterrupt) -> None:
    """What stopped us, and what the command added about how to go on."""
    what = "Terminated." if isinstance(stop, Terminated) else "Interrupted."
    echo(" ".join((what, *getattr(stop, "__notes__", ()))), err=True)


def _explain(error: BaseException, ctx: click.Context | None = None, *, as_json: bool) -> None:
    """Say what happened in one sentence, and keep the traceback of what nobody foresaw."""
    shown = error if _is_ours(error) else _surroundings(error) or _bug(ctx, error)
    _show(shown, as_json=as_json)


def _show(error: BaseException, *, as_json: bool) -> None:
    detail = getattr(error, "detail", "")
    if as_json:
        _print_error(type(error).__name__, str(error), detail)
        return
    from vqa_engine_cli.excerpt import excerpt

    echo(f"{style('Error:', fg='red', bold=True)} {one_line(str(error))}", err=True)
    for line in excerpt(detail):
        echo(f"    {line}", err=True)


def _surroundings(error: BaseException) -> Exception | None:
    """What the disk or the system did, wherever it was met."""
    if not isinstance(error, OSError):
        return None
    from vqa_engine.files import surroundings

    return surroundings(error)


def _bug(ctx: click.Context | None, error: BaseException) -> Exception:
    from vqa_engine_cli.unforeseen import unforeseen

    return unforeseen(ctx, error)


def _print_error(kind: str, message: str, detail: str = "") -> None:
    """An error as the last JSON object on stdout, where a program reads."""
    echo(json.dumps({"event": "error", "error": kind, "message": message, "detail": detail}))


def _is_ours(error: BaseException) -> bool:
    """Whether it is in our tree; without the tree loaded, it cannot be."""
    errors = sys.modules.get("vqa_engine.errors")
    return errors is not None and isinstance(error, errors.VqaEngineError)
