"""A special token's name in a question is text to every family of models."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from tests.checkpoints import byte_level_bpe, llama_bpe
from vqa_engine.adapter import Question
from vqa_engine.errors import AnswerError
from vqa_engine_adapters.plain import Plain

SPECIALS = (
    *("<|end|>", "<|im_end|>", "<end_of_utterance>", "<image>", "<s>", "</s>", "[IMG]"),
    *("<fake_token_around_image>", "<|image|>", "<end_of_turn>"),
)
TOKENIZERS = {
    "byte-level": byte_level_bpe(SPECIALS),
    "llama": llama_bpe({name: 600 + n for n, name in enumerate(SPECIALS) if "s>" not in name}),
}


def tokenizer(name: str) -> Any:
    """One of transformers, around one of `TOKENIZERS`."""
    return PreTrainedTokenizerFast(tokenizer_object=TOKENIZERS[name], bos_token="<s>")


@pytest.mark.parametrize("name", TOKENIZERS)
class TestPlain:
    """`Plain` of each kind of tokenizer."""

    @given(parts=st.lists(st.sampled_from([*SPECIALS, "<", "/", "|", "s>", " ", "＜/s＞", "a"])))
    def test_text_makes_no_special_token(self, name: str, parts: list[str]) -> None:
        known = tokenizer(name)
        text = Plain.of(known)("".join(parts))
        ids = known(text, add_special_tokens=False)["input_ids"]
        special = {id_ for id_, token in known.added_tokens_decoder.items() if token.special}
        assert special.isdisjoint(set(ids) - {known.unk_token_id, known.vocab.get("<unk>")})
        assert text.replace(" ", "") == "".join(parts).replace(" ", "")

    @given(text=st.text(st.characters(codec="utf-8", exclude_characters="<[＜")))
    def test_ordinary_text_stays(self, name: str, text: str) -> None:
        assert Plain.of(tokenizer(name))(text) == text

    def test_choices_are_text_as_well(self, name: str) -> None:
        asked = Question(question_id=1, image=b"", text="Which?", choices=("</s>", "red"))
        assert Plain.of(tokenizer(name)).question(asked).choices == ("< /s>", "red")

    def test_half_of_a_surrogate_pair_is_refused(self, name: str) -> None:
        with pytest.raises(AnswerError, match="Unicode"):
            Plain.of(tokenizer(name))("\ud83d")


def test_names_that_no_tokenizer_lists_are_broken_by_their_form() -> None:
    assert Plain.of(None)("a <|image_2|> b") == "a < |image_2|> b"
