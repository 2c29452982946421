"""What the options build: the adapters, each with what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.builders import png
from vqa_engine.engine import SAME_FAILURES
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import ahead, process
from vqa_engine_cli import building
from vqa_engine_cli.main import cli
from vqa_engine_cli.run import run


def specs(*arguments: str) -> list[AdapterSpec]:
    """The specs of a command line."""
    given: dict[str, Any] = run.make_context("run", list(arguments)).params
    return building.specs(given)


def test_options_without_an_adapter_are_the_default_one_s() -> None:
    (spec,) = specs(
        "--adapter-option", "a=1", "--adapter-option", "smolvlm:b=2", "--trust-remote-code"
    )
    assert (spec.name, spec.label, spec.model.model) == ("smolvlm", "demo", "builtin")
    assert spec.model.options == {"a": "1", "b": "2"}
    assert spec.model.trust_remote_code


def test_a_model_without_an_adapter_is_the_default_one_s() -> None:
    (spec,) = specs("--model", "x/y", "--revision", "main", "--python", "smolvlm=/a/python")
    assert (spec.name, spec.model.model, spec.model.revision) == ("smolvlm", "x/y", "main")
    assert str(spec.python) == "/a/python"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--revision", "main"], "give --model or --adapter"),
        (["-a", "smolvlm@x/y", "--model", "z"], "Give the model once"),
        (["-a", "smolvlm", "-a", "llava_mlx", "--revision", "v1"], "NAME@MODEL"),
        (["--python", "llava_mlx=/a"], "the adapters of this run are: smolvlm"),
        (["--python", "/a"], "must be NAME=PATH"),
        (["--adapter-option", "a"], "must be [LABEL:]KEY=VALUE"),
        (["--max-tokens", "x=5"], "--max-tokens x=… names no adapter"),
        (["-a", "a=smolvlm", "--temperature", "b=1"], "the labels are: a"),
    ],
)
def test_what_would_have_no_effect_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        specs(*arguments)
    assert said in str(caught.value)


def test_the_default_of_same_failures_is_the_engine_s() -> None:
    (option,) = (one for one in run.params if one.name == "same_failures")
    assert option.default == SAME_FAILURES


def test_labels_give_one_adapter_two_prompts() -> None:
    arguments = ["-a", "small=smolvlm@builtin", "-a", "terse=smolvlm@builtin"]
    arguments += ["--prompt", "terse={question}\\nOne word.", "--system", "Be kind."]
    small, terse = specs(*arguments)
    assert (small.name, small.label, small.model.model) == ("smolvlm", "small", "builtin")
    assert (small.settings, terse.settings) == ({}, {"prompt": "{question}\nOne word."})


def test_labels_give_one_adapter_two_limits_and_temperatures() -> None:
    arguments = ["-a", "small=smolvlm@builtin", "-a", "warm=smolvlm@builtin"]
    arguments += ["--max-tokens", "9", "--max-tokens", "small=4", "--temperature", "warm=0.5"]
    given: dict[str, Any] = run.make_context("run", arguments).params
    plan = building.plan(given)
    planned = [spec.planned(plan) for spec in building.specs(given)]
    assert [(one.max_tokens, one.temperature) for one in planned] == [(4, 0.0), (9, 0.5)]


@pytest.mark.parametrize("number", ["0", "small=0", "small=", "many"])
def test_a_limit_that_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(click.BadParameter):
        run.make_context("run", ["-a", "small=smolvlm", "--max-tokens", number])


def test_an_adapter_option_may_be_for_one_label() -> None:
    one, two = specs("-a", "a=smolvlm", "-a", "b=smolvlm", "--adapter-option", "b:reuse=off")
    assert (one.model.options, two.model.options) == ({}, {"reuse": "off"})


def test_a_prompt_without_a_label_is_everybody_s(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("{question}\nx=1\n")
    plans = [
        building.plan(run.make_context("run", ["--stop", "END", *given]).params)
        for given in (["--prompt", "x={question}"], ["--prompt-file", str(file)])
    ]
    assert [plan.prompt for plan in plans] == ["x={question}", "{question}\nx=1"]
    assert plans[0].stop == ("END",)


@pytest.mark.parametrize(
    ("arguments", "waits"),
    [
        ([], True),
        (["--isolation", "inline"], False),
        (["--python", "smolvlm=/a/python"], False),
        (["--place", "cpu"], False),
        (["--workers", "2"], False),
        (["-a", "smolvlm", "-a", "llava_mlx", "--parallel"], False),
    ],
)
def test_a_worker_starts_early_where_the_first_model_will_take_it(
    arguments: list[str], waits: bool
) -> None:
    with building.early_worker(run.make_context("run", arguments).params):
        assert bool(ahead._waiting) is waits


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [("ask", "a.png", "?"), ("run", "--questions", "shapes:count=1", "-o", "one")]
)
@pytest.mark.usefixtures("nobody_left")
def test_the_first_model_takes_the_early_worker(
    line: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: object) -> None:
        raise AssertionError("a second worker")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "spawn", refuse)
    Path("a.png").write_bytes(png())
    done = CliRunner().invoke(cli, line, catch_exceptions=False)
    assert done.exit_code == 0, done.output
