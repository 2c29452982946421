"""The system message and the stop texts go to the server as they are."""

from __future__ import annotations

from tests.builders import png
from tests.http.scripted import Script, serving
from vqa_engine import AdapterSpec, Engine, GenerationPlan, ModelRef


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
