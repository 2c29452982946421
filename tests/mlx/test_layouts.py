"""Checkpoints as conversions left them on the hub, complete or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkpoints import write_json
from tests.checkpoints.llava import EDGE, PATCHES
from tests.mlx.builders import ask, edit, loaded, picture
from vqa_engine.adapter import GenerationPlan
from vqa_engine.errors import ConfigurationError
from vqa_engine_adapters.families.llava import complete, prompt
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=4)
TEXT_ONLY = "{% for m in messages %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% endfor %}"
PRINTING = "{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"
BLIND = (
    "{% for m in messages %}[INST] {% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %} [/INST]{% endfor %}"
)

Copied = Callable[[str], Path]


def answered(folder: Path) -> tuple[tuple[int, ...], int, str]:
    """The ids of an answer, the tokens of its image, and the prompt."""
    with loaded(folder, LlavaMlx()) as adapter:
        answer = adapter.answer(ask(picture()), PLAN)
        assert answer.tokens
        return answer.token_ids, answer.tokens.image or 0, adapter.prompt(ask(picture()))


@pytest.mark.parametrize("model_type", ["llava", "llava_next"])
class TestProcessorConfig:
    """Missing as in 2024, or repaired by hand since: the same answers as with a whole one."""

    def test_missing(self, copied: Copied, model_type: str) -> None:
        folder = copied(model_type)
        expected = answered(folder)
        (folder / "processor_config.json").unlink()
        assert answered(folder) == expected

    def test_repaired_in_part(self, copied: Copied, model_type: str) -> None:
        folder = copied(model_type)
        expected = answered(folder)
        entries = json.loads((folder / "processor_config.json").read_text())
        del entries["num_additional_image_tokens"]
        write_json(folder, "processor_config.json", entries)
        assert answered(folder) == expected


@pytest.mark.parametrize("template", [TEXT_ONLY, PRINTING, BLIND])
def test_template_that_knows_no_image_is_left_aside(copied: Copied, template: str) -> None:
    folder = copied("llava_next")
    expected = answered(folder)
    (folder / "chat_template.json").unlink()
    edit(folder / "tokenizer_config.json", chat_template=template)
    ids, image, said = answered(folder)
    assert said == "[INST] <image>\nWhat colour is the kettle?" + (
        "\nAnswer the question using a single word or phrase. [/INST]"
    )
    assert image == expected[1]
    assert ids


def test_image_tokens_are_those_of_the_reference(copied: Copied) -> None:
    """90x70 fits two by two tiles best: four rows of eight less two of padding."""
    _, image, _ = answered(copied("llava_next"))
    rows = 2 * EDGE // 14 - 2 * ((8 - int(70 * 8 / 90)) // 2)
    assert image == PATCHES + rows * (8 + 1)


class TestSparseText:
    """What LLaVA's text part leaves unsaid."""

    def test_of_vicuna(self) -> None:
        text = complete({"text_config": {"model_type": "llama", "vocab_size": 32064}})[
            "text_config"
        ]
        assert text["num_key_value_heads"] == text["num_attention_heads"] == 32
        assert (text["intermediate_size"], text["rope_theta"]) == (11008, 10_000.0)

    def test_of_mistral(self) -> None:
        text = complete({"text_config": {"model_type": "mistral"}})["text_config"]
        assert (text["num_key_value_heads"], text["rope_theta"]) == (8, 1_000_000.0)

    def test_is_never_overruled(self) -> None:
        said = {"model_type": "llama", "num_attention_heads": 40, "rope_theta": 5.0}
        text = complete({"text_config": said})["text_config"]
        assert (text["num_key_value_heads"], text["rope_theta"]) == (40, 5.0)

    def test_of_the_34b_has_a_prompt_of_its_own(self) -> None:
        assert prompt({"text_config": {"vocab_size": 64064}}).startswith(
            "<|im_start|>user\n<image>"
        )


class TestWording:
    """The text around a question, as the options give it."""

    def test_is_in_the_prompt(self, copied: Copied) -> None:
        options = {
            "system": "Be exact.", "before": "Question: ", "instruction": " Briefly.",
            "prefill": " Answer:",
        }  # fmt: skip
        with loaded(copied("smolvlm"), SmolVlm(), **options) as adapter:
            assert adapter.prompt(ask(picture(), "What?")) == (
                "<|im_start|>System: Be exact.<end_of_utterance>\n"
                "User:<image>Question: What? Briefly.<end_of_utterance>\nAssistant: Answer:"
            )
            answer = adapter.answer(ask(picture(), "What?"), PLAN)
            assert answer.token_ids

    def test_without_a_place_is_refused(self, copied: Copied) -> None:
        with (
            pytest.raises(ConfigurationError, match="no place for a system text"),
            loaded(copied("llava_next"), LlavaMlx(), system="Be exact."),
        ):
            pass

    def test_with_an_image_marker_is_refused(self, copied: Copied) -> None:
        with (
            pytest.raises(ConfigurationError, match="<image>"),
            loaded(copied("smolvlm"), SmolVlm(), before="<image>"),
        ):
            pass

    def test_keeps_prefixes_apart(self, copied: Copied) -> None:
        def ids(adapter: MlxAdapter) -> tuple[int, ...]:
            return adapter.answer(ask(picture()), PLAN).token_ids

        folder = copied("smolvlm")
        with loaded(folder, SmolVlm(), prefill=" red") as adapter:
            first, again = ids(adapter), ids(adapter)
        with loaded(folder, SmolVlm(), prefill=" red", reuse="off") as adapter:
            assert first == again == ids(adapter)
