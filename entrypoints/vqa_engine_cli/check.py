"""`vqa-engine check`: the conformance tests on an installed adapter."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from vqa_engine_cli.options import json_option, options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vqa_engine.testing.capabilities import Capabilities
    from vqa_engine.testing.subject import Outcome

NO_PYTEST = "The tests need pytest: pip install 'vqa-engine[testing]'"
MARKS = {"passed": "ok", "skipped": "-", "failed": "FAILED", "died": "DIED", "hung": "HUNG"}


@click.command()
@click.argument("name")
@options(
    click.option("--model", help="Checkpoint to test with.  [default: the adapter's]"),
    click.option(
        "--question",
        help="What to ask about plain coloured pictures; answers about two of them must differ.",
    ),
    click.option("--sees-no-images", is_flag=True, help="The adapter answers without looking."),
    click.option(
        "--waive",
        "waived",
        multiple=True,
        metavar="TEST=REASON",
        help="A standard test that the adapter does without, and why; repeatable.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        default=600.0,
        show_default=True,
        help="Seconds that one test may take.",
    ),
    json_option,
)
def check(name: str, timeout: float, as_json: bool, **given: Any) -> None:
    """Run the conformance tests on the adapter NAME, as its author would.

    Exit code 3 means that it loads, but some test fails.

    \b
    Example:
      vqa-engine check smolvlm --model builtin
    """
    capabilities = _capabilities(given)
    from vqa_engine.testing.check import check as run

    outcomes = run(name, capabilities, longest=timeout)
    wrong = _show_json(outcomes) if as_json else _show(outcomes)
    sys.exit(3 if wrong else 0)


def _capabilities(given: dict[str, Any]) -> Capabilities:
    from vqa_engine.adapter import ModelRef

    try:
        from vqa_engine.testing.capabilities import Capabilities
    except ModuleNotFoundError as error:
        if error.name != "pytest":
            raise
        raise click.ClickException(NO_PYTEST) from error
    facts: dict[str, Any] = {"question": given["question"]} if given["question"] else {}
    return Capabilities(
        model=ModelRef(model=given["model"]),
        sees_images=not given["sees_no_images"],
        waived=dict(_waiver(text) for text in given["waived"]),
        **facts,
    )


def _waiver(text: str) -> tuple[str, str]:
    test, _, reason = text.partition("=")
    if not reason.strip():
        raise click.BadParameter(
            f"{text!r} gives no reason: write TEST=REASON.", param_hint="--waive"
        )
    return test.strip(), reason.strip()


def _show(outcomes: Iterable[Outcome]) -> int:
    """A line for each test as it ends; the number of those that are not harmless."""
    seen = []
    for outcome in outcomes:
        seen.append(outcome)
        name = outcome.test.removeprefix("test_").replace("_", " ")
        why = f"  ({outcome.text})" if outcome.state == "skipped" else ""
        click.echo(f"{MARKS[outcome.state]:<7} {name}{why}")
        if not outcome.harmless:
            click.echo(_indented(outcome))
    wrong = sum(not outcome.harmless for outcome in seen)
    skipped = sum(outcome.state == "skipped" for outcome in seen)
    click.echo(f"\n{len(seen) - skipped - wrong} passed, {wrong} failed, {skipped} do not apply.")
    return wrong


def _show_json(outcomes: Iterable[Outcome]) -> int:
    """One JSON object for all tests."""
    import msgspec

    seen = list(outcomes)
    wrong = [outcome for outcome in seen if not outcome.harmless]
    click.echo(msgspec.json.encode({"passed": not wrong, "tests": seen}).decode())
    return len(wrong)


def _indented(outcome: Outcome) -> str:
    """What the test asks for, and pytest's lines about what it found instead."""
    lines = outcome.text.splitlines()
    told = [line[1:].removeprefix("   ") for line in lines if line.startswith("E")] or lines
    return "\n".join(f"        {line}".rstrip() for line in (outcome.title, *told))
