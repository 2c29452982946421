"""`vqa-engine check`: the conformance tests on an installed adapter."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from vqa_engine_cli.finite import FiniteRange
from vqa_engine_cli.help import Command
from vqa_engine_cli.options import json_option, options
from vqa_engine_cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vqa_engine.testing.capabilities import Capabilities
    from vqa_engine.testing.check import Outcome

_NO_PYTEST = "The tests need pytest and two of its plugins: pip install 'vqa-engine[testing]'"
MARKS = {
    **{"passed": "ok", "skipped": "-", "not run": "not run"},
    **{"failed": "FAILED", "died": "DIED", "hung": "HUNG"},
}
_PLACE = re.compile(r"^(\S+\.py:\d+): in ")
"""A frame in pytest's short traceback."""


@click.command(cls=Command, short_help="Run the conformance tests on an adapter.")
@click.argument("name")
@options(
    click.option("--model", help="Checkpoint to test with.  [default: the adapter's]"),
    click.option("--trust-remote-code", is_flag=True, help="Allow checkpoints to run code."),
    click.option(
        "--adapter-option",
        "adapter_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the adapter itself; `vqa-engine adapters NAME` lists them.",
    ),
    click.option(
        "--question",
        help="Question to ask about plain coloured pictures; the answers for two must differ.",
    ),
    click.option("--sees-no-images", is_flag=True, help="The adapter ignores images."),
    click.option(
        "--waive",
        "waived",
        multiple=True,
        metavar="TEST=REASON",
        help="A standard test to skip, and why; repeatable.",
    ),
    click.option(
        "--timeout",
        type=FiniteRange(0, min_open=True),
        default=600.0,
        show_default=True,
        help="Time limit of one test in seconds.",
    ),
    json_option,
)
def check(name: str, timeout: float, as_json: bool, **given: Any) -> None:
    """Run the conformance tests on the installed adapter NAME.

    Exit code 3 means that a test failed.

    \b
    Example:
      vqa-engine check smolvlm --model builtin
    """
    capabilities = _capabilities(given)
    from vqa_engine.testing.check import check as run

    outcomes: list[Outcome] = []
    run(name, capabilities, outcomes.append if as_json else _shown(outcomes), longest=timeout)
    if as_json:
        _show_json(outcomes)
    else:
        _summarise(outcomes)
    sys.exit(0 if all(one.harmless for one in outcomes) else 3)


def _capabilities(given: dict[str, Any]) -> Capabilities:
    if any(find_spec(module) is None for module in ("pytest", "pytest_timeout", "xdist")):
        raise click.ClickException(_NO_PYTEST)
    from vqa_engine.adapter import ModelRef
    from vqa_engine.testing.capabilities import Capabilities
    from vqa_engine_cli.building import pairs_of

    facts: dict[str, Any] = {"question": given["question"]} if given["question"] else {}
    model = ModelRef(
        model=given["model"],
        trust_remote_code=given["trust_remote_code"],
        options=pairs_of(given["adapter_options"], "--adapter-option must be KEY=VALUE."),
    )
    return Capabilities(
        model=model,
        sees_images=not given["sees_no_images"],
        waived=dict(_waiver(text) for text in given["waived"]),
        **facts,
    )


def _waiver(text: str) -> tuple[str, str]:
    test, _, reason = text.partition("=")
    if not reason.strip():
        raise click.BadParameter(
            f"{text!r} gives no reason; write TEST=REASON.", param_hint="--waive"
        )
    return test.strip(), reason.strip()


def _shown(outcomes: list[Outcome]) -> Callable[[Outcome], None]:
    """Shows each outcome as it comes, and keeps it."""

    def show(outcome: Outcome) -> None:
        outcomes.append(outcome)
        name = outcome.test.removeprefix("test_").replace("_", " ")
        why = f"  ({outcome.text})" if outcome.state == "skipped" else ""
        echo(f"{MARKS[outcome.state]:<7} {name}{why}")
        if not outcome.harmless:
            echo(_indented(outcome))

    return show


def _summarise(outcomes: Sequence[Outcome]) -> None:
    wrong = sum(not outcome.harmless for outcome in outcomes)
    skipped = sum(outcome.state == "skipped" for outcome in outcomes)
    waiting = sum(outcome.state == "not run" for outcome in outcomes)
    passed = len(outcomes) - skipped - waiting - wrong
    left = f", {waiting} not run until the failed ones pass" if waiting else ""
    echo(f"\n{passed} passed, {wrong} failed, {skipped} do not apply{left}.")


def _show_json(outcomes: Sequence[Outcome]) -> None:
    """One JSON object for all tests."""
    import msgspec

    passed = all(outcome.harmless for outcome in outcomes)
    echo(msgspec.json.encode({"passed": passed, "tests": outcomes}).decode())


def _indented(outcome: Outcome) -> str:
    """What the test asks for, and pytest's lines about what it found instead."""
    lines = outcome.text.splitlines()
    shown = [line[1:].removeprefix("   ") for line in lines if line.startswith("E")] or lines
    places = [place[1] for line in lines if (place := _PLACE.match(line))]
    own = [place for place in places if "vqa_engine/testing/" not in place][-1:]
    return "\n".join(f"        {line}".rstrip() for line in (outcome.title, *shown, *own))
