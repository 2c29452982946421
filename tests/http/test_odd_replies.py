"""Whatever a server says in headers and in fields of its answer costs that answer alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.builders import a_question, png
from tests.http.scripted import KEY, Reply, Script, serving
from vqa_engine.adapter import GenerationPlan, ModelRef
from vqa_engine.errors import AnswerError, CheckpointError
from vqa_engine_adapters.http.openai_server import OpenAiServer

QUESTION = a_question(image=png())


@contextmanager
def loaded(script: Script) -> Iterator[OpenAiServer]:
    """The adapter on a server that never answers twice."""
    adapter = OpenAiServer()
    with serving(script) as url:
        try:
            adapter.load(ModelRef(options={"base_url": url, "retries": 0}))
            yield adapter
        finally:
            adapter.release()


HEADERS = [
    *(("content-type", f"text/plain; charset={name}") for name in ("zip", "rot13", "idna")),
    *(("content-type", f"text/plain; charset={name}") for name in ("undefined", "utf-16", "\xff")),
    ("content-encoding", "gzip"),
    ("content-encoding", ", ".join(["gzip"] * 50)),
    ("retry-after", "Mon, 01 Jan 2000 00:00:00 +9999999999999"),
    ("retry-after", "Mon, 01 Jan 999999999999999999999 00:00:00"),
    ("set-cookie", "\xff=\xff; expires=Mon, 99-Foo-99999"),
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_makes_no_sense_fails_its_answer_alone(header: tuple[str, str]) -> None:
    odd = Reply(status=500, text="oops \xff", headers=(header,))
    with loaded(Script((odd, Reply()))) as adapter:
        with pytest.raises(AnswerError, match="The server failed once"):
            adapter.answer(QUESTION, GenerationPlan())
        assert adapter.answer(QUESTION, GenerationPlan()).text == "yes"


@pytest.mark.parametrize("said", [f"no: {KEY}", [f"no: {KEY}"], f"no: {KEY} " + "x" * 100_000])
@pytest.mark.parametrize("name", ["refusal", "finish_reason"])
def test_why_there_is_no_text_is_said_in_short_and_without_the_key(
    monkeypatch: pytest.MonkeyPatch, name: str, said: Any
) -> None:
    monkeypatch.setenv("VQA_ENGINE_API_KEY", KEY)
    choice = {"message": {"content": None, name: said}, name: said}
    reply = Reply(text=json.dumps({"choices": [choice]}))
    with loaded(Script((reply,))) as adapter, pytest.raises(AnswerError) as failed:
        adapter.answer(QUESTION, GenerationPlan())
    assert "no: ***" in str(failed.value)
    assert len(str(failed.value)) < 500


@pytest.mark.parametrize("data", [None, 5, "abc", {"id": "m"}, [None], [{}], [{"id": 7}]])
def test_a_list_of_models_that_is_none_offers_no_model(data: Any) -> None:
    script = Script(models={"data": data})
    with pytest.raises(CheckpointError, match="no model"), loaded(script):
        pass


def test_names_of_models_are_said_in_short_and_without_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VQA_ENGINE_API_KEY", KEY)
    script = Script(models={"data": [{"id": f"m {KEY}"}, *[{"id": "x" * 100}] * 10_000]})
    with pytest.raises(CheckpointError, match=r"m \*\*\*") as failed, loaded(script):
        pass
    assert len(str(failed.value)) < 500


def test_a_model_whose_name_no_request_can_carry_is_asked_for_all_the_same() -> None:
    script = Script(models={"data": [{"id": "m\ud800"}]})
    with loaded(script) as adapter:
        assert adapter.answer(QUESTION, GenerationPlan()).text == "yes"
    assert script.asked[0]["model"] == "m?"
