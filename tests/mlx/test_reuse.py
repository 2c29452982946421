"""Prefixes kept per image: the same answers, in any order, and every byte accounted for."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from PIL import Image

from tests.mlx.builders import (
    ADAPTERS,
    FAST,
    Checkpoints,
    ask,
    asked,
    ids,
    loaded,
    mixed,
    picture,
    turned,
)
from vqa_engine.adapter import Answer, CacheHolder, GenerationPlan, ModelRef, Question
from vqa_engine.errors import AnswerError, ConfigurationError, ImageError, OutOfMemory
from vqa_engine.images import open_image
from vqa_engine_adapters.mlx import answering, readying
from vqa_engine_adapters.mlx import picture as picture_module
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.preparing import prepare
from vqa_engine_adapters.mlx.reuse import Key, Prefix, Prefixes
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=6)


def reused(answer: Answer) -> int:
    """Prompt tokens that cost nothing."""
    assert answer.tokens
    return answer.tokens.reused


class TestSameAnswers:
    """Reuse changes what an answer costs, and nothing else."""

    @pytest.mark.parametrize("model_type", FAST)
    @pytest.mark.slow
    def test_as_without_reuse(
        self, checkpoints: Checkpoints, tmp_path: Path, model_type: str
    ) -> None:
        folder, questions = checkpoints(model_type, "float"), mixed(tmp_path)
        with loaded(folder, ADAPTERS[model_type]()) as adapter:
            answers = asked(adapter, questions, PLAN)
        with loaded(folder, ADAPTERS[model_type](), reuse="off") as adapter:
            alone = asked(adapter, questions, PLAN)
        assert ids(answers) == ids(alone)
        assert [reused(answer) > 0 for answer in answers] == [False] * 2 + [
            True, False, True, True, True,
        ]  # fmt: skip
        assert not any(map(reused, alone))
        assert [_counts(answer) for answer in answers] == [_counts(answer) for answer in alone]

    @pytest.mark.slow
    def test_of_phi(self, checkpoints: Checkpoints) -> None:
        """Its placeholders are negative, its crops dear: a short set."""
        questions = [ask(picture(), "Who?"), ask(turned(), "Who?"), ask(picture(), "Is it?")]
        folder = checkpoints("phi3_v", "float")
        with loaded(folder, Phi35Vision()) as adapter:
            answers = asked(adapter, questions, PLAN)
        with loaded(folder, Phi35Vision(), reuse="off") as adapter:
            assert ids(answers[1:]) == ids(asked(adapter, questions[1:], PLAN))
        assert [reused(answer) > 0 for answer in answers] == [False, False, True]

    @pytest.mark.parametrize("model_type", ["smolvlm", "llava_next"])
    @pytest.mark.parametrize("tail", [True, False])
    def test_through_the_generic_adapter(
        self, checkpoints: Checkpoints, model_type: str, tail: bool
    ) -> None:
        """Of a family without a tail only the computing is saved, not the processing."""

        class Generic(MlxVlm):
            family = MlxVlm.family if tail else evolve(MlxVlm.family, relatives=())

        questions = [ask(picture(), "Who?"), ask(turned(), "Who?"), ask(picture(), "Is it?")]
        folder = checkpoints(model_type, "float")
        with loaded(folder, Generic()) as adapter:
            answers = asked(adapter, questions, PLAN)
        with loaded(folder, Generic(), reuse="off") as adapter:
            assert ids(answers) == ids(asked(adapter, questions, PLAN))
        assert reused(answers[2]) > 0

    def test_about_two_images_that_look_alike_to_a_tokenizer(self, smol: MlxAdapter) -> None:
        """The trap of docs/facts/mlx_vlm.md: equal ids, and an answer about the first."""
        one, other = ask(picture()), ask(turned())
        first, second = smol.answer(one, PLAN), smol.answer(other, PLAN)
        assert _prompt_ids(smol, one) == _prompt_ids(smol, other)
        assert first.token_ids != second.token_ids
        smol.drop_caches()
        assert smol.answer(other, PLAN).token_ids == second.token_ids
        assert smol.answer(one, PLAN).token_ids == first.token_ids

    @pytest.mark.parametrize("kv_bits", [None, 8])
    @pytest.mark.slow
    def test_whatever_the_order(self, checkpoints: Checkpoints, kv_bits: int | None) -> None:
        """In half precision and with a quantised cache too: a resumed run asks others first."""
        plan = evolve(PLAN, kv_bits=kv_bits, prefill_step=48)
        questions = [ask(picture(), "Who?"), ask(picture(), "How many are there?")]
        with loaded(checkpoints("smolvlm", "4bit-half"), SmolVlm()) as adapter:
            forth = asked(adapter, questions, plan)
            adapter.drop_caches()
            back = asked(adapter, questions[::-1], plan)
        assert ids(forth) == ids(back)[::-1]
        assert reused(forth[1]) == reused(back[1]) > 0

    def test_under_other_plans(self, smol: MlxAdapter) -> None:
        """A bound on the image or a quantised cache makes another prefix, a step does not."""
        question = ask(picture(200, 150))
        smol.answer(question, PLAN)
        plans = [evolve(PLAN, image_longest_edge=64), evolve(PLAN, kv_bits=8)]
        assert [reused(smol.answer(question, plan)) for plan in plans] == [0, 0]
        assert reused(smol.answer(question, evolve(PLAN, prefill_step=16))) > 0

    def test_a_longer_question_than_there_was_room_for(self, smol: MlxAdapter) -> None:
        long = ask(picture(), "What is in the picture? " * 40)
        smol.answer(ask(picture()), PLAN)
        answer, held = smol.answer(long, PLAN), smol.cached_bytes()
        assert reused(answer) > 0
        smol.drop_caches()
        assert smol.answer(long, PLAN).token_ids == answer.token_ids
        assert smol.cached_bytes() == pytest.approx(held, rel=0.1)

    @pytest.mark.slow
    def test_a_prompt_that_phi_rotates_otherwise(self, copied: Callable[[str], Path]) -> None:
        """Past its first length all positions of a step turn: no part may stand alone."""
        folder, question = copied("phi3_v"), ask(picture(), "Who?")
        config = json.loads((folder / "config.json").read_text())
        config["original_max_position_embeddings"] = 320
        (folder / "config.json").write_text(json.dumps(config))
        with loaded(folder, Phi35Vision()) as adapter:
            answer = adapter.answer(question, PLAN)
            assert adapter.cached_bytes() == 0
        with loaded(folder, Phi35Vision(), reuse="off") as adapter:
            assert adapter.answer(question, PLAN).token_ids == answer.token_ids


class TestWork:
    """Nothing is done twice."""

    def test_the_processor_runs_once_per_image(
        self, smol: MlxAdapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = []

        def counted(*given: Any) -> Any:
            runs.append(given)
            return prepare(*given)

        monkeypatch.setattr(readying, "prepare", counted)
        asked(smol, [ask(picture(), text) for text in ("Who?", "Where?", "Why?")], PLAN)
        assert len(runs) == 1

    def test_a_tail_that_is_wrong_is_not_used(self, checkpoints: Checkpoints) -> None:
        """It is compared with the whole prompt's ids; then each question is processed."""

        class Mistaken(SmolVlm):
            family = evolve(SmolVlm.family, tail=lambda *_given, special: [3, special])

        questions = [ask(picture(), "Who?"), ask(picture(), "Where are they?")]
        with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
            expected = asked(adapter, questions, PLAN)
        with loaded(checkpoints("smolvlm", "float"), Mistaken()) as adapter:
            answers = asked(adapter, questions, PLAN)
        assert ids(answers) == ids(expected)
        assert reused(answers[1]) == reused(expected[1])


class TestFallback:
    """Where a model does not allow it, it is told once and done without."""

    def test_of_a_rotating_cache(
        self, smol: MlxAdapter, checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
    ) -> None:
        from mlx_vlm.models.cache import RotatingKVCache

        class Sliding(SmolVlm):
            def load(self, model: ModelRef) -> None:
                super().load(model)
                language = self._ready().model.language_model
                language.make_cache = lambda: [RotatingKVCache(4096) for _ in range(2)]
                self._ask().answering = answering.Answering(self._ready(), self.family, reuse=True)

        questions = [ask(picture(), "Who?"), ask(picture(), "Where?")]
        with (
            caplog.at_level(logging.INFO),
            loaded(checkpoints("smolvlm", "float"), Sliding()) as adapter,
        ):
            answers = asked(adapter, questions, PLAN)
            assert adapter.cached_bytes() == 0
        assert ids(answers) == ids(asked(smol, questions, PLAN))
        assert not any(map(reused, answers))
        told = [record for record in caplog.records if "computed from its start" in record.message]
        assert [record.levelname for record in told] == ["INFO"]
        assert "RotatingKVCache" in told[0].message

    def test_of_positions_of_the_whole_prompt(self, smol: MlxAdapter) -> None:
        """As Qwen's models have them."""
        model = smol._ready()
        model.model.language_model._rope_deltas = None
        plain = answering.Answering(model, smol.family, reuse=True)
        prompt = smol.prompt(ask(picture()))
        image = smol._ask().preparation.picture(ask(picture()), None)
        answer = plain.generate({0: prompt}, image, PLAN)[0]
        assert answer.ids == smol.answer(ask(picture()), PLAN).token_ids
        assert plain.readying.prefixes.nbytes == 0

    def test_when_switched_off(self, checkpoints: Checkpoints) -> None:
        with loaded(checkpoints("smolvlm", "float"), SmolVlm(), reuse="off") as adapter:
            answers = asked(adapter, [ask(picture()), ask(picture())], PLAN)
            assert adapter.cached_bytes() == 0
        assert not any(map(reused, answers))

    def test_of_an_option_that_means_nothing(self) -> None:
        with pytest.raises(ConfigurationError, match="reuse"):
            SmolVlm().load(ModelRef(options={"reuse": "maybe"}))


class TestBytes:
    """What is kept is declared, to the byte, and given back when asked for."""

    @pytest.mark.parametrize("kv_bits", [None, 4])
    @pytest.mark.parametrize("model_type", ["smolvlm", "llava"])
    def test_are_the_allocators(
        self, checkpoints: Checkpoints, tmp_path: Path, model_type: str, kv_bits: int | None
    ) -> None:
        import mlx.core as mx

        plan = evolve(PLAN, kv_bits=kv_bits)
        with loaded(checkpoints(model_type, "float"), ADAPTERS[model_type]()) as adapter:
            assert isinstance(adapter, CacheHolder)
            adapter.answer(ask(picture(50, 50)), plan)  # libraries keep constants from it on
            adapter.drop_caches()
            floor = mx.get_active_memory()
            for question in mixed(tmp_path):
                adapter.answer(question, plan)
                assert mx.get_active_memory() - adapter.cached_bytes() == floor
            assert adapter.cached_bytes() > 0
            adapter.drop_caches()
            assert (adapter.cached_bytes(), mx.get_active_memory()) == (0, floor)

    def test_are_nobodys_after_release(self, checkpoints: Checkpoints) -> None:
        adapter = SmolVlm()
        with loaded(checkpoints("smolvlm", "float"), adapter):
            adapter.answer(ask(picture()), PLAN)
        assert adapter.cached_bytes() == 0
        adapter.drop_caches()

    def test_are_given_up_after_an_error_of_the_device(
        self, smol: MlxAdapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import mlx.core as mx

        def fail(*_given: object) -> None:
            raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")

        floor, question = mx.get_active_memory(), ask(picture())
        before = smol.answer(question, PLAN)
        smol.answer(ask(turned()), PLAN)
        with monkeypatch.context() as patch:
            patch.setattr(answering, "go_on", fail)
            with pytest.raises(OutOfMemory):
                smol.answer(question, PLAN)
        assert (smol.cached_bytes(), mx.get_active_memory()) == (0, floor)
        again = smol.answer(question, PLAN)
        assert (again.token_ids, reused(again)) == (before.token_ids, 0)

    def test_stay_after_an_error_of_a_question(self, smol: MlxAdapter) -> None:
        smol.answer(ask(picture()), PLAN)
        with pytest.raises(ImageError):
            smol.answer(ask(Path("nowhere.png")), PLAN)
        with pytest.raises(AnswerError):
            smol.answer(ask(picture(), "What is \ud800?"), PLAN)
        assert reused(smol.answer(ask(picture()), PLAN)) > 0


class TestPrefetch:
    """The next image is opened on a thread; what is wrong with it shows when it is asked."""

    @pytest.fixture
    def opened(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Names of the threads that opened an image."""
        threads: list[str] = []

        def noted(question: Question, place: int = 0) -> Image.Image:
            threads.append(threading.current_thread().name)
            return open_image(question, place)

        monkeypatch.setattr(picture_module, "open_image", noted)
        return threads

    def test_serves_the_question_that_comes(
        self, smol: MlxAdapter, opened: list[str], tmp_path: Path
    ) -> None:
        turned().save(tmp_path / "next.png")
        present, coming = ask(picture()), ask(tmp_path / "next.png")
        smol._ask().preparation.prefetch(coming)
        smol.answer(present, PLAN)
        answer = smol.answer(evolve(coming), PLAN)
        assert sorted(name.partition("_")[0] for name in opened) == ["MainThread", "prefetch"]
        assert smol.answer(ask(turned()), PLAN).token_ids == answer.token_ids

    def test_is_no_ones_when_another_comes(self, smol: MlxAdapter, opened: list[str]) -> None:
        smol._ask().preparation.prefetch(ask(turned()))
        answer = smol.answer(ask(picture()), PLAN)
        assert "MainThread" in opened
        smol.drop_caches()
        assert smol.answer(ask(picture()), PLAN).token_ids == answer.token_ids

    def test_fails_when_it_is_asked(self, smol: MlxAdapter) -> None:
        smol._ask().preparation.prefetch(ask(Path("nowhere.png")))
        with pytest.raises(ImageError) as caught:
            smol.answer(evolve(ask(Path("nowhere.png")), question_id=7), PLAN)
        assert caught.value.question_id == 7

    @pytest.mark.parametrize("reuse", [True, False])
    def test_begins_when_the_device_has_work(
        self, smol: MlxAdapter, monkeypatch: pytest.MonkeyPatch, *, reuse: bool
    ) -> None:
        """Before, it would keep the interpreter from the thread that makes the work."""
        happened: list[str] = []
        monkeypatch.setattr(smol._ask().answering.readying, "reuse", reuse)

        def note(owner: type, name: str) -> None:
            call = getattr(owner, name)

            def noted(*given: object) -> object:
                made = call(*given)
                happened.append(name)
                return made

            monkeypatch.setattr(owner, name, noted)

        note(readying.Readying, "prepare")
        note(picture_module.Preparation, "prefetch")
        smol.drop_caches()
        present = ask(picture())
        smol.answer_batch((present,), PLAN, ask(turned()))
        assert happened == ["prepare", "prefetch"]
        smol.answer_batch((present,), PLAN, ask(turned()))
        assert happened[2:] == (["prefetch"] if reuse else ["prepare", "prefetch"])

    def test_ends_with_the_model(self, checkpoints: Checkpoints) -> None:
        with loaded(checkpoints("smolvlm", "float"), SmolVlm()) as adapter:
            adapter._ask().preparation.prefetch(ask(picture()))
        names = [thread.name for thread in threading.enumerate()]
        assert not any(name.startswith("prefetch") for name in names)


class TestBounds:
    """A few images, and so many bytes."""

    def test_on_images(self) -> None:
        kept = Prefixes(most_images=2, most_bytes=100)
        for digest in "abc":
            kept.put(key(digest), prefix(10))
        assert kept.peek(key("a")) is None
        assert kept.nbytes == 20

    def test_let_go_of_what_was_used_longest_ago(self) -> None:
        kept = Prefixes(most_images=2, most_bytes=100)
        kept.put(key("a"), prefix(10))
        kept.put(key("b"), prefix(10))
        taken = kept.take(key("a"))
        assert taken is not None
        kept.put(key("a"), taken)
        kept.put(key("c"), prefix(10))
        assert [kept.peek(key(name)) is not None for name in "abc"] == [True, False, True]

    def test_on_bytes_keep_one_whatever_its_size(self) -> None:
        kept = Prefixes(most_images=4, most_bytes=100)
        kept.put(key("a"), prefix(60))
        kept.put(key("b"), prefix(60))
        assert kept.nbytes == 60
        kept.put(key("c"), prefix(1000))
        assert kept.nbytes == 1000

    def test_are_asked_about_from_another_thread(self) -> None:
        """The thread that cuts the next picture asks while the model's thread keeps prefixes."""
        kept, wrong = Prefixes(most_images=64, most_bytes=10**6), list[BaseException]()
        done = threading.Event()

        def ask_on() -> None:
            try:
                while not done.is_set():
                    kept.has("none")
            except RuntimeError as error:
                wrong.append(error)

        thread, interval = threading.Thread(target=ask_on), sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        thread.start()
        try:
            for number in range(20_000):
                kept.put(key(str(number % 100)), prefix(10))
        finally:
            sys.setswitchinterval(interval)
            done.set()
            thread.join()
        assert wrong == []


def key(digest: str) -> Key:
    """The key of an image, everything else equal."""
    return Key(digest=digest, longest_edge=None, kv_bits=None, before="")


def prefix(nbytes: int) -> Prefix:
    """A prefix of that size."""
    return Prefix(ids=(1,), positions=1, image=1, cache=[], capacity=256, nbytes=nbytes)


def _counts(answer: Answer) -> Any:
    assert answer.tokens
    return evolve(answer.tokens, reused=0)


def _prompt_ids(adapter: MlxAdapter, question: Question) -> Any:

    prepared = prepare(adapter._ready(), adapter.prompt(question), open_image(question))
    return prepared.ids.tolist()
