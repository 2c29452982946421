"""How many tokens a model reads, from what published configurations state."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.errors import ContextExceeded
from vqa_engine_adapters.context import Context, answer_tokens

PUBLISHED: dict[str, tuple[dict[str, Any], int | None]] = {
    "SmolVLM2": ({"text_config": {"max_position_embeddings": 8192}}, 8192),
    "Phi-3.5-vision": (
        {
            "max_position_embeddings": 131072,
            "original_max_position_embeddings": 4096,
            "rope_scaling": {"type": "su", "long_factor": [1.0], "short_factor": [1.0]},
        },
        131072,
    ),
    "Gemma 3 4B": ({"text_config": {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}}}, None),
    "Llama 3.2": (
        {
            "text_config": {
                "max_position_embeddings": 131072,
                "rope_scaling": {
                    "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192,
                },
            }
        },
        131072,
    ),
    "Qwen2.5 with YaRN": (
        {
            "max_position_embeddings": 32768,
            "rope_scaling": {
                "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768,
            },
        },
        131072,
    ),
    "Vicuna 16k": (
        {"text_config": {"max_position_embeddings": 4096, "rope_scaling": {"factor": 4}}}, 16384,
    ),
    "transformers 5": (
        {
            "text_config": {
                "max_position_embeddings": 4096,
                "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0}},
            }
        },
        8192,
    ),
    "InternVL": ({"llm_config": {"max_position_embeddings": 32768}}, 32768),
    "Florence-2": (
        {"is_encoder_decoder": True, "text_config": {"max_position_embeddings": 4096}}, None,
    ),
    "nothing": ({}, None),
    "nonsense": ({"max_position_embeddings": -1, "text_config": "none", "rope_scaling": 3}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_what_the_configuration_states(name: str) -> None:
    config, size = PUBLISHED[name]
    assert Context.of(config).size == size


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["factor", "full", "mrope_section", "original_max_position_embeddings"]
            ),
            inner,
            max_size=3,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["max_position_embeddings", "rope_scaling"]), JSON), JSON)
def test_any_configuration_can_be_read(config: dict[str, Any], text: Any) -> None:
    context = Context.of({**config, "text_config": text, "rope_parameters": text})
    assert context.size is None or context.size > 0


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**4))
def test_prompt_and_answer_fit_together_or_not(size: int, prompt: int, answer: int) -> None:
    context = Context(size=size)
    assert context.fits(prompt, 0, answer) == (prompt + answer <= size)
    if not context.fits(prompt, 0, answer):
        with pytest.raises(ContextExceeded, match=f"needs {prompt + answer:,} tokens.*{size:,}"):
            context.check(prompt, 0, answer)


def test_images_whose_tokens_share_positions_do_not_count() -> None:
    context = Context.of({"max_position_embeddings": 100, "rope_scaling": {"mrope_section": [1]}})
    context.check(500, 450, 50)
    with pytest.raises(ContextExceeded, match="51 for the prompt without its images"):
        context.check(501, 450, 50)


@given(st.text(alphabet="aé€😀 ", min_size=1, max_size=50))
def test_what_no_tokenizer_brings_below_the_bound_is_not_tokenised(text: str) -> None:
    length = len(text.encode())
    asked = Question(question_id=1, image=b"", text=text, choices=("yes",))
    if length + 3 > 64:
        with pytest.raises(ContextExceeded, match=f"has {length + 3:,} bytes"):
            Context(size=1).admit(asked)
    Context(size=length).admit(asked)
    Context().admit(asked)
    Context(size=length).check_text(text, lambda _: pytest.fail("it was tokenised"))


def test_an_option_that_is_scored_needs_one_token() -> None:
    asked = Question(question_id=1, image=b"", text="?", choices=("a", "b"))
    assert answer_tokens(asked, GenerationPlan(max_tokens=9)) == 9
    assert answer_tokens(asked, GenerationPlan(max_tokens=9, choose="likelihood")) == 1
