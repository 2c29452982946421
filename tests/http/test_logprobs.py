"""The log-probability of an answer, from servers that give one for each token."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import png
from tests.http.scripted import Reply, Script, serving
from vqa_engine import AdapterSpec, Answer, Engine, ModelRef


def answered(reply: Reply, **settings: Any) -> tuple[Answer, dict[str, Any]]:
    """The answer to a question with these settings, and the body that the server got."""
    script = Script([reply])
    with serving(script) as url:
        spec = AdapterSpec(name="openai_server", model=ModelRef(options={"base_url": url}))
        with Engine(spec, isolation="inline") as engine:
            answer = engine.ask(png(), "Who?", **settings)
    (body,) = script.asked
    return answer, body


GIVEN = {"content": [{"token": "y", "logprob": -0.5}, {"token": "es", "logprob": -1}]}


def test_a_server_is_asked_for_them_and_they_are_added_up() -> None:
    answer, body = answered(Reply(logprobs=GIVEN), logprobs=True)
    assert body["logprobs"] is True
    assert (answer.text, answer.logprob) == ("yes", -1.5)


def test_without_being_asked_for_there_are_none() -> None:
    answer, body = answered(Reply(logprobs=GIVEN))
    assert "logprobs" not in body
    assert answer.logprob is None


@pytest.mark.parametrize(
    "given",
    [
        *(None, {}, [], {"content": None}, {"content": []}, {"content": [{"logprob": None}]}),
        *({"content": [{"logprob": odd}]} for odd in (10**400, float("nan"), float("-inf"))),
        *({"content": ["y"]}, {"content": [{"logprob": -1}, {"token": "es"}]}),
    ],
)
def test_a_server_without_them_gives_its_answer_all_the_same(given: Any) -> None:
    answer, _ = answered(Reply(logprobs=given), logprobs=True)
    assert (answer.text, answer.logprob) == ("yes", None)
