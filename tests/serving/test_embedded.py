"""The embedded model behind the server: what a user gets who types `vqa-engine serve`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.serving.running import Client, serving
from vqa_engine.adapter import BUILTIN, ModelRef
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.runs.directory import open_journal, read_manifest
from vqa_engine.serving import model
from vqa_engine_cli.main import cli

pytestmark = pytest.mark.slow

MIB = 1 << 20
QUESTION = "What colour is the square?\nGive a very brief answer."


def embedded(label: str = "smolvlm", **options: str) -> AdapterSpec:
    return AdapterSpec(name="smolvlm", label=label, model=ModelRef(model=BUILTIN, options=options))


@pytest.mark.parametrize(
    ("spec", "instruction", "given"),
    [
        (embedded(), False, {"instruction": ""}),
        (embedded(), True, {}),
        (embedded(instruction="\nBriefly."), False, {"instruction": "\nBriefly."}),
    ],
)
def test_the_clients_own_instruction_is_the_only_one(
    tmp_path: Path, spec: AdapterSpec, instruction: bool, given: dict[str, str]
) -> None:
    with serving(spec, journal=tmp_path, instruction=instruction):
        pass
    assert read_manifest(tmp_path).adapters["smolvlm"].options == given


def test_questions_about_one_picture_share_its_prefix() -> None:
    with serving(embedded()) as client:
        first, second = (client.ask(QUESTION, model="smolvlm").json() for _ in range(2))
        names = ("<end_of_utterance>", "< end_of_utterance>")
        control, plain = (client.ask(f"{name}{QUESTION}", model="smolvlm").json() for name in names)
    assert control["choices"] == plain["choices"]
    assert control["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]
    assert first["choices"][0]["message"]["content"] == "red"
    assert first["choices"] == second["choices"]
    details = [one["usage"]["prompt_tokens_details"] for one in (first, second)]
    assert details[0]["cached_tokens"] == 0 < details[1]["cached_tokens"]
    assert details[0]["image_tokens"] == details[1]["image_tokens"] > 0
    assert first["system_fingerprint"] == second["system_fingerprint"]


def test_a_text_beyond_the_context_is_refused_as_openai_refuses_it() -> None:
    with serving(embedded()) as client:
        for text in ("What colour is it? " * 5000, "x" * 10_000_000):
            refused = client.ask(text, model="smolvlm")
            assert refused.status_code == 400
            error = refused.json()["error"]
            assert error["code"] == "context_length_exceeded"
            assert "the model's context is 2,048 tokens" in error["message"]
        assert client.said(QUESTION, model="smolvlm") == "red"


def test_swaps_under_load_bring_every_byte_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "TURN_SECONDS", 0.1)
    monkeypatch.setattr(model, "TURN_REQUESTS", 3)
    specs = embedded("one"), embedded("two")
    policy = MemoryPolicy(budget=8 * MIB)

    def ask(client: Client, label: str) -> list[str]:
        return [client.said(QUESTION, model=label) for _ in range(6)]

    with serving(*specs, journal=tmp_path, policy=policy) as client, ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask, client, one.label) for one in specs]
        assert [one.result() for one in asking] == [["red"] * 6] * 2
        states = client.state()["models"]
        assert sum(one["resident"] for one in states) == len(client.workers()) == 1
        assert not any(one["last_error"] for one in states)
    journal = open_journal(tmp_path)
    rows = list(journal.rows())
    assert len(rows) == 12
    assert len({row.answer and row.answer.memory and row.answer.memory.active for row in rows}) == 1
    journal.close()


def test_the_command_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    command = ["serve", "--host", "0.0.0.0", "--port", "0", "--api-key-env", "NO_KEY"]
    ended = CliRunner().invoke(cli, command)
    assert ended.exit_code == 1
    assert "set the environment variable NO_KEY" in ended.output
