"""Any text at an option that has a parser of its own, and any value in a card or an option of
an adapter: used, or refused in one sentence that names it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import png
from tests.questions.tasks.test_cards import CARD
from tests.surroundings.test_values import refused, scalars
from vqa_engine.adapter import read_options
from vqa_engine.crew.opening import OpenPlaces
from vqa_engine.errors import ConfigurationError, VqaEngineError
from vqa_engine.questions.tasks import card
from vqa_engine.scoring import metrics
from vqa_engine_adapters.http.client import Client
from vqa_engine_adapters.http.options import SECRET
from vqa_engine_adapters.http.options import Options as ServerOptions
from vqa_engine_adapters.mlx.options import Options as MlxOptions
from vqa_engine_adapters.torch.options import Options as TorchOptions
from vqa_engine_cli import building
from vqa_engine_cli.main import cli
from vqa_engine_cli.run import run

NASTY = st.sampled_from(
    [
        *("", " ", "\0", "a\0b", "\udcff", "\ud800", "n" * 300, "9" * 5000, "²", "١", "-1", "0"),
        *("nan", "inf", "-inf", "1e999", "true", "[", "[" * 5000, "{", "{question", "=", ":", "@"),
        *("null", "0x10", "1_000", "\u202e", "\x1b[31m", "[/red]", "~", "../..", "a\nb", "9" * 400),
    ]
)
texts = st.text(max_size=60) | NASTY
OPTIONS: dict[str, st.SearchStrategy[str]] = {
    "--memory-budget": texts | st.builds("{}{}".format, texts, st.sampled_from(["GiB", "K", "b"])),
    "--place": texts
    | st.builds("local://{}?count={}".format, texts, texts)
    | st.builds("ray://{}?wait={}&count={}".format, texts, texts, texts)
    | st.builds("ray://local?gpus={}&{}=1".format, texts, texts),
    "--choices": texts
    | st.builds("{}:{}".format, st.sampled_from(["shuffled", "circular", "all"]), texts),
    "--columns": texts | st.builds("{}={}".format, texts, texts),
    "--adapter-option": texts | st.builds("{}:{}={}".format, texts, texts, texts),
    "--python": texts | st.builds("smolvlm={}".format, texts),
    "--metric": texts
    | st.builds("exact+{}".format, texts)
    | st.builds("exact+macro:{}".format, texts)
    | st.builds("{}>exact".format, texts)
    | st.builds("after:{}>exact".format, texts),
    "--adapter": texts | st.builds("{}=smolvlm@{}".format, texts, texts),
    "--questions": texts | st.builds("shapes:{}={}".format, texts, texts),
    "--task": texts | st.builds("{}/{}.toml".format, texts, texts),
    "--prompt": texts | st.builds("smolvlm={}".format, texts),
    "--stop": texts,
    "--system": texts,
    "--max-tokens": texts | st.builds("smolvlm={}".format, texts),
}
NAMED = {"--memory-budget", "--place", "--choices", "--columns", "--adapter-option", "--python"}


def built(**given: Any) -> None:
    """All that a run makes of its options before it begins."""
    given.setdefault("adapters", ())
    building.specs(given)
    building.policy(given)
    building.plan(given)
    OpenPlaces(building.places(given)).close()
    if given["metrics"]:
        metrics(given["metrics"])
    len(building.question_set(given))


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_any_text_is_used_or_refused_by_name(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "callback", built)

    @settings(max_examples=25)
    @given(text=OPTIONS[option])
    def used_or_refused(text: str) -> None:
        said = CliRunner().invoke(cli, ["run", f"{option}={text}"])
        if said.exit_code:
            sentence = refused(said)
            assert len(sentence) < 1_400
            assert option.rstrip("s") in sentence or option not in NAMED, sentence

    used_or_refused()


KINDS: dict[type[Any], tuple[str, ...]] = {
    kind: tuple(one.name for one in kind.__attrs_attrs__)
    for kind in (ServerOptions, MlxOptions, TorchOptions)
}


@pytest.mark.slow
@settings(max_examples=200)
@given(
    chosen=st.sampled_from([(kind, name) for kind, names in KINDS.items() for name in names]),
    value=texts | st.builds("http://{}/v1".format, texts) | scalars | st.lists(scalars, max_size=2),
)
def test_any_option_of_an_adapter_is_used_or_refused_by_name(
    chosen: tuple[type[Any], str], value: object
) -> None:
    kind, name = chosen
    said = ""
    try:
        options = read_options(kind, {name: value}, SECRET if kind is ServerOptions else ())
        if kind is ServerOptions:
            Client(options).close()
    except ConfigurationError as error:
        said = str(error)
    assert name in said or not said


@pytest.mark.parametrize("key", ["two\nlines", "ключ", "a\0b", "\x1b[31m"])
def test_a_key_that_no_request_carries_is_refused_without_it(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqa_engine_adapters.http.options.os.environ", {"KEY": key})
    with pytest.raises(ConfigurationError, match="variable KEY") as error:
        Client(ServerOptions(api_key_env="KEY"))
    assert key not in str(error.value)


PARTS: tuple[tuple[str, ...], ...] = (
    *(("task",), ("version",), ("title",), ("data",), ("data", "files"), ("data", "questions")),
    *(("data", "hub"), ("columns",), ("columns", "id"), ("columns", "image"), ("prompt",)),
    *(("columns", "labels"), ("columns", "choices"), ("prompt", "text"), ("prompt", "option")),
    *(
        ("prompt", "max_tokens"),
        ("prompt", "family"),
        ("score",),
        ("score", "metrics"),
        ("score", "by"),
        ("score", "take"),
    ),
)
values = (
    scalars
    | NASTY
    | st.lists(scalars | NASTY, max_size=3)
    | st.dictionaries(st.text(), scalars | NASTY, max_size=3)
)


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.sampled_from(PARTS), value=values)
def test_any_value_in_a_task_card_is_used_or_refused(
    part: tuple[str, ...], value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tomllib.loads(CARD)
    place = written
    for name in part[:-1]:
        place = place[name]
    place[part[-1]] = value
    with monkeypatch.context() as patch:
        patch.setattr("vqa_engine.questions.tasks.card.tomllib.loads", lambda _text: written)
        said = ""
        try:
            card.read("", Path(), "card.toml")
        except VqaEngineError as error:
            said = str(error)
    assert "card.toml" in said or not said


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000, "{" * 3000, "nan", "1979-05-27"])
@pytest.mark.parametrize("read", ["a card", "options"])
def test_toml_that_no_reader_takes_is_one_sentence(value: str, read: str, tmp_path: Path) -> None:
    file = tmp_path / "file.toml"
    file.write_text(f"max-tokens = {value}")
    words = ["tasks", "show", str(file)] if read == "a card" else ["run", "--config", str(file)]
    assert str(file) in refused(CliRunner().invoke(cli, words))


@pytest.mark.parametrize(
    "words",
    ["--system \udcff", "--stop \udcff", "--prompt {question}\udcff"],
)
@pytest.mark.parametrize("command", ["run --limit 1", "ask a.png What?"])
def test_a_text_that_is_not_unicode_is_one_sentence(
    words: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(png())
    said = CliRunner().invoke(cli, [*command.split(), *words.split()])
    assert "not valid Unicode" in refused(said)


def test_an_option_that_is_not_unicode_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(
        cli, ["run", "--limit", "1", "--adapter-option", "instruction=\udcff"]
    )
    assert "not valid Unicode" in refused(said)
