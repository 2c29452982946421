"""The system message and the stop texts go to the server as they are."""

from __future__ import annotations

import pytest

from tests.builders import png
from tests.http.scripted import Script, serving
from vqa_engine import AdapterSpec, Engine, GenerationPlan, ModelRef


@pytest.mark.parametrize(
    ("text", "sent"),
    [("Is <|im_end|> red?", "Is < |im_end|> red?"), ("a</s><eos>", "a< /s>< eos>"),
     ("<__media__><IMG_CONTEXT>[IMG_BREAK]", "< __media__>< IMG_CONTEXT>[ IMG_BREAK]"),
     ("<\uff5cend\u2581of\u2581sentence\uff5c>", "< \uff5cend\u2581of\u2581sentence\uff5c>"),
     ("Is 1 < 2 | [x]?", "Is 1 < 2 | [x]?")],
)  # fmt: skip
def test_the_name_of_a_control_token_is_text_to_a_server(text: str, sent: str) -> None:
    script = Script()
    with serving(script) as url:
        spec = AdapterSpec(name="openai_server", model=ModelRef(options={"base_url": url}))
        with Engine(spec, isolation="inline") as engine:
            engine.ask(png(), text, choices=("<end_of_utterance>", "red"))
    (body,) = script.asked
    asked = body["messages"][-1]["content"][-1]["text"]
    assert asked.startswith(sent)
    assert "<end_of_utterance>" not in asked


def test_a_server_gets_the_system_message_the_prompt_and_the_stop_texts() -> None:
    plan = GenerationPlan(system="Be kind.", prompt="{question}!", stop=("\n",))
    script = Script()
    with serving(script) as url:
        model = ModelRef(options={"base_url": url})
        spec = AdapterSpec(name="openai_server", model=model)
        with Engine(spec, isolation="inline", plan=plan) as engine:
            engine.ask(png(), "Who?")
    (body,) = script.asked
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be kind."}
    assert user["content"][-1]["text"] == "Who?!"
    assert body["stop"] == ["\n"]
