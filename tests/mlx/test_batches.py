"""Questions about one image as branches behind one prefix: what each would get alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

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
from vqa_engine import Engine
from vqa_engine.adapter import (
    BUILTIN,
    Answer,
    BatchAdapter,
    CostAware,
    GenerationPlan,
    ModelRef,
    Question,
)
from vqa_engine.errors import AnswerError, ConfigurationError, ImageError, OutOfMemory
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.questions.shapes import ShapesSet
from vqa_engine_adapters.mlx import answering, batching, readying
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.generic import MlxVlm
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.preparing import prepare
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

pytest_plugins = ("tests.mlx.fixtures",)

PLAN = GenerationPlan(max_tokens=6)
TEXTS = ("Who?", "What colour is the kettle?", "How many dogs are there in it? " * 3)


def about(image: Any, texts: tuple[str, ...] = TEXTS) -> list[Question]:
    """One question about the image for each text."""
    return [ask(image, text) for text in texts]


def together(adapter: MlxAdapter, questions: list[Question], plan: GenerationPlan) -> list[Answer]:
    """The answers, in batches as the adapter wants them."""
    answers: list[Answer] = []
    while upcoming := questions[len(answers) :]:
        count = adapter.batch_size(upcoming, plan)
        said = adapter.answer_batch(upcoming[:count], plan, None)
        answers += [one for one in said if isinstance(one, Answer)]
    return answers


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many questions went through the model together, each time that some did."""
    counts: list[int] = []

    def counted(loaded: Any, prefix: Any, suffixes: Any, plan: Any) -> Any:
        counts.append(len(suffixes))
        return batching.go_on_together(loaded, prefix, suffixes, plan)

    monkeypatch.setattr(answering, "go_on_together", counted)
    return counts


def alone(folder: Path, adapter: MlxAdapter, questions: list[Question]) -> list[Answer]:
    """The answers of a model that computes each question from its start."""
    with loaded(folder, adapter, reuse="off") as fresh:
        return asked(fresh, questions, PLAN)


class TestSameAnswers:
    """A batch changes what an answer costs, and nothing else."""

    @pytest.mark.parametrize("model_type", FAST)
    @pytest.mark.slow
    def test_as_one_by_one(self, checkpoints: Checkpoints, tmp_path: Path, model_type: str) -> None:
        """Off, on and batched: equal token counts, other names for a picture, in turns."""
        folder = checkpoints(model_type, "float")
        questions = [more for one in mixed(tmp_path) for more in (one, *about(one.image))]
        with loaded(folder, ADAPTERS[model_type]()) as adapter:
            assert isinstance(adapter, BatchAdapter)
            said = together(adapter, questions, PLAN)
            adapter.drop_caches()
            single = asked(adapter, questions, PLAN)
        assert ids(said) == ids(single) == ids(alone(folder, ADAPTERS[model_type](), questions))
        assert [answer.tokens for answer in said] == [answer.tokens for answer in single]
        assert [one.finish_reason for one in said] == [one.finish_reason for one in single]

    @pytest.mark.slow
    def test_of_phi(self, checkpoints: Checkpoints) -> None:
        """Its placeholders are negative, its crops dear: a short set."""
        questions = about(picture()) + about(turned(), TEXTS[:2])
        folder = checkpoints("phi3_v", "float")
        with loaded(folder, Phi35Vision()) as adapter:
            assert adapter.batch_size(questions, PLAN) == 3
            said = together(adapter, questions, PLAN)
        assert ids(said) == ids(alone(folder, Phi35Vision(), questions))

    @pytest.mark.slow
    def test_of_a_model_that_knows_what_it_says(self) -> None:
        questions, adapter = list(ShapesSet(seed=2, count=300)), SmolVlm()
        adapter.load(ModelRef(model=BUILTIN))
        said = together(adapter, questions, GenerationPlan())
        single = asked(adapter, questions, GenerationPlan())
        adapter.release()
        assert ids(said) == ids(single)

    def test_where_one_ends_before_the_other(self, smol: MlxAdapter) -> None:
        said = ids(asked(smol, about(picture()), PLAN))
        ends = evolve(smol._ready(), stop=frozenset({said[1][2], said[2][4]}))
        smol._ask().answering = answering.Answering(ends, smol.family, reuse=True)
        again = together(smol, about(picture()), PLAN)
        assert ids(again) == ids(asked(smol, about(picture()), PLAN))
        assert len({(one.finish_reason, len(one.token_ids)) for one in again}) > 1

    @pytest.mark.parametrize(
        "ways", [("batching.on_gpu",), ("tree.fills",), ("batching.on_gpu", "tree.fills")]
    )
    def test_as_a_gpu_does_it(
        self, smol: MlxAdapter, ways: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A token ahead, and passes of a few rows filled up: the answers end one by one."""
        questions = about(picture(), (*TEXTS, *(f"{text} Why?" for text in TEXTS)))[:7]
        said = ids(asked(smol, questions, PLAN))
        ends = frozenset({said[1][2], said[2][4], said[4][3]})
        ended = evolve(smol._ready(), stop=ends)
        smol._ask().answering = answering.Answering(ended, smol.family, reuse=True)
        expected = asked(smol, questions, PLAN)
        for way in ways:
            monkeypatch.setattr(f"vqa_engine_adapters.mlx.{way}", lambda *_model: True)
        again = together(smol, questions, PLAN)
        assert ids(again) == ids(expected)
        assert len({len(one.token_ids) for one in again}) > 2

    @pytest.mark.parametrize("width", ["float", "4bit", "4bit-half"])
    @pytest.mark.parametrize("change", [{"prefill_step": 7}, {"image_longest_edge": 64}, {}])
    def test_under_other_plans(
        self, checkpoints: Checkpoints, width: str, change: dict[str, Any]
    ) -> None:
        plan, questions = evolve(PLAN, **change), about(picture(200, 150))
        with loaded(checkpoints("smolvlm", width), SmolVlm()) as adapter:
            assert ids(together(adapter, questions, plan)) == ids(asked(adapter, questions, plan))

    def test_after_a_question_by_itself_and_before_one(self, smol: MlxAdapter) -> None:
        questions = about(picture())
        expected = ids(asked(smol, questions, PLAN))
        assert ids(together(smol, questions, PLAN)) == expected
        assert ids(asked(smol, questions, PLAN)) == expected

    @pytest.mark.slow
    def test_in_the_callers_order(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        """Through the engine, which brings together what was asked in turns."""
        (tmp_path / "images").mkdir()
        questions = [
            evolve(one, question_id=n)
            for n, one in enumerate(mixed(tmp_path / "images") + mixed(tmp_path / "images"))
        ]
        folder = str(checkpoints("smolvlm", "float"))
        texts = []
        for switch in ("on", "off"):
            model = ModelRef(model=folder, options={"batch": switch})
            spec = AdapterSpec(name="smolvlm", model=model)
            with Engine(adapters=[spec], plan=PLAN, isolation="inline") as engine:
                rows = engine.run(questions).rows()
                texts.append([row.answer and row.answer.token_ids for row in rows])
        assert texts[0] == texts[1]


class TestSize:
    """How many go together: leading questions about one image, where it is allowed."""

    def test_is_that_of_one_image(self, smol: MlxAdapter, tmp_path: Path) -> None:
        picture().save(tmp_path / "one.png")
        one, data = picture(), (tmp_path / "one.png").read_bytes()
        for image, twin in ((one, one), (data, bytes(data)), (tmp_path / "one.png",) * 2):
            questions = [*about(image), ask(twin), *about(turned())]
            assert smol.batch_size(questions, PLAN) == 4
        assert smol.batch_size([ask(picture()), ask(picture())], PLAN) == 1

    def test_is_bounded_by_what_the_answers_may_take(self, smol: MlxAdapter) -> None:
        questions = about(picture(), TEXTS * 10)
        assert smol.batch_size(questions, PLAN) == batching.MOST_QUESTIONS
        long = evolve(PLAN, max_tokens=batching.MOST_PLACES // 2)
        assert smol.batch_size(questions, long) == 2

    @pytest.mark.parametrize("change", [{"temperature": 0.5}, {"kv_bits": 8}])
    def test_is_one_for_what_needs_the_last_bit(
        self, smol: MlxAdapter, change: dict[str, Any]
    ) -> None:
        assert smol.batch_size(about(picture()), evolve(PLAN, **change)) == 1

    @pytest.mark.parametrize("option", ["batch", "reuse"])
    def test_is_one_when_switched_off(self, checkpoints: Checkpoints, option: str) -> None:
        with loaded(checkpoints("smolvlm", "float"), SmolVlm(), **{option: "off"}) as adapter:
            assert adapter.batch_size(about(picture()), PLAN) == 1

    def test_is_one_of_an_unproven_family(
        self, checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Generic(MlxVlm):
            family = evolve(MlxVlm.family, relatives=())

        with (
            caplog.at_level(logging.INFO),
            loaded(checkpoints("smolvlm", "float"), Generic()) as adapter,
        ):
            assert adapter.batch_size(about(picture()), PLAN) == 1
        told = [one for one in caplog.records if "one by one" in one.message]
        assert [one.levelname for one in told] == ["INFO"]

    def test_is_one_where_positions_are_turned_elsewhere(self, smol: MlxAdapter) -> None:
        model = smol._ready()
        model.model.language_model.layers[0].self_attn.rope = lambda x, offset: x
        other = answering.Answering(model, smol.family, reuse=True)
        assert other.most(PLAN) == 1

    def test_of_an_option_that_means_nothing(self) -> None:
        with pytest.raises(ConfigurationError, match="batch"):
            SmolVlm().load(ModelRef(options={"batch": "maybe"}))


class TestFallback:
    """What cannot go together is answered one by one, and nobody notices."""

    @pytest.mark.slow
    def test_past_the_length_at_which_phi_turns_otherwise(
        self, copied: Callable[[str], Path], groups: list[int]
    ) -> None:
        """One is too long to be computed in parts; the others go together without it."""
        folder = copied("phi3_v")
        questions = about(picture(), ("Who?", "Is it? " * 60, "Why?", "Where?"))
        config = json.loads((folder / "config.json").read_text())
        config["original_max_position_embeddings"] = 360
        (folder / "config.json").write_text(json.dumps(config))
        with loaded(folder, Phi35Vision()) as adapter:
            said = together(adapter, questions, PLAN)
        assert groups == [3]
        assert ids(said) == ids(alone(folder, Phi35Vision(), questions))

    def test_after_a_tail_that_is_wrong(self, checkpoints: Checkpoints, smol: MlxAdapter) -> None:
        class Mistaken(SmolVlm):
            family = evolve(SmolVlm.family, tail=lambda *_given, special: [3, special])

        with loaded(checkpoints("smolvlm", "float"), Mistaken()) as adapter:
            said = together(adapter, about(picture()), PLAN)
        assert ids(said) == ids(asked(smol, about(picture()), PLAN))


class TestErrors:
    """The fault of one costs no other its answer, and no fault leaves anything behind."""

    @pytest.mark.parametrize("bad", ["What is \ud800?"])
    def test_of_one_question(self, smol: MlxAdapter, groups: list[int], bad: str) -> None:
        """The others are still answered together, and what it costs is theirs."""
        questions = about(picture(), ("Who?", bad, "Is it?", "Where?"))
        rest = [questions[0], *questions[2:]]
        assert smol.cost(questions, PLAN) == smol.cost(rest, PLAN)
        first, second, *others = smol.answer_batch(questions, PLAN, None)
        assert isinstance(second, AnswerError)
        assert groups == [3]
        said = [one.token_ids for one in (first, *others) if isinstance(one, Answer)]
        assert said == ids(asked(smol, rest, PLAN))

    def test_of_one_that_the_processor_refuses(
        self, smol: MlxAdapter, groups: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def picky(model: Any, prompt: str, *rest: Any) -> Any:
            if "Who" in prompt:
                raise ValueError("no such person")
            return prepare(model, prompt, *rest)

        monkeypatch.setattr(readying, "prepare", picky)
        outcomes = smol.answer_batch(about(picture(), ("Who?", "Is it?", "Where?")), PLAN, None)
        assert [type(one) for one in outcomes] == [AnswerError, Answer, Answer]
        assert groups == [2]

    def test_of_them_all(self, smol: MlxAdapter) -> None:
        questions = about(picture(), ("What is \ud800?", "And \udfff?"))
        with pytest.raises(AnswerError, match="Unicode"):
            smol.cost(questions, PLAN)
        outcomes = smol.answer_batch(questions, PLAN, None)
        assert [type(one) for one in outcomes] == [AnswerError, AnswerError]

    def test_of_what_follows(self, smol: MlxAdapter) -> None:
        """It is reported when it is asked."""
        questions, following = about(picture()), ask(Path("nowhere"))
        said = smol.answer_batch(questions, PLAN, following)
        assert all(isinstance(one, Answer) for one in said)
        (outcome,) = smol.answer_batch([following], PLAN, None)
        assert isinstance(outcome, ImageError)

    def test_of_the_image(self, smol: MlxAdapter) -> None:
        questions = [evolve(one, question_id=n) for n, one in enumerate(about(Path("nowhere")))]
        outcomes = smol.answer_batch(questions, PLAN, None)
        assert all(isinstance(one, ImageError) for one in outcomes)
        assert [getattr(one, "question_id", None) for one in outcomes] == [0, 1, 2]

    def test_of_the_device(self, smol: MlxAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
        import mlx.core as mx

        def fail(*_given: object) -> None:
            raise RuntimeError("[METAL] Command buffer execution failed: Insufficient Memory")

        questions = about(picture())
        expected = ids(asked(smol, questions, PLAN))
        smol.drop_caches()
        floor = mx.get_active_memory()
        with monkeypatch.context() as patch:
            patch.setattr(batching, "chosen", fail)
            with pytest.raises(OutOfMemory):
                smol.answer_batch(questions, PLAN, None)
        assert (smol.cached_bytes(), mx.get_active_memory()) == (0, floor)
        assert ids(asked(smol, questions, PLAN)) == expected


class TestCost:
    """What a batch takes is told before, and what is kept after it is declared."""

    def test_is_that_of_one_long_question(self, smol: MlxAdapter) -> None:
        assert isinstance(smol, CostAware)
        questions = about(picture())
        told = smol.cost(questions, PLAN)
        said = together(smol, questions, PLAN)
        prompts = [answer.tokens.prompt for answer in said if answer.tokens]
        prefix = max(answer.tokens.reused for answer in said if answer.tokens)
        assert told.image_tiles > 0
        assert 0 <= told.prompt_tokens - (sum(prompts) - 2 * prefix) <= 2
        assert (told.cache_tokens or 0) >= sum(prompts) - 2 * prefix + 3 * PLAN.max_tokens
        again = smol.cost(questions, PLAN)
        assert (again.image_tiles, again.reused_tokens, again.cache_tokens) == (0, prefix, 0)

    def test_is_planned_and_learned_from(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        """A batch's prediction has its truth, as a question's has."""
        questions = [
            evolve(more, question_id=f"{n} {m}")
            for n, one in enumerate(mixed(tmp_path))
            for m, more in enumerate(about(one.image))
        ]
        model = ModelRef(model=str(checkpoints("smolvlm", "float")))
        spec = AdapterSpec(name="smolvlm", model=model)
        with Engine(adapters=[spec], plan=PLAN, isolation="inline") as engine:
            rows = list(engine.run(questions).rows())
        told = [row.prediction for row in rows if row.prediction]
        assert 1 < len(told) <= len(rows) // 3
        assert all(one.truth for one in told)

    def test_leaves_declared_bytes_only(self, smol: MlxAdapter, tmp_path: Path) -> None:
        import mlx.core as mx

        together(smol, about(picture()), PLAN)  # libraries keep constants from it on
        smol.drop_caches()
        floor = mx.get_active_memory()
        for one in mixed(tmp_path):
            together(smol, about(one.image), PLAN)
            assert mx.get_active_memory() - smol.cached_bytes() == floor
        smol.drop_caches()
        assert mx.get_active_memory() == floor

    def test_is_shared_by_the_questions(self, smol: MlxAdapter) -> None:
        said = together(smol, about(picture()), PLAN)
        timings = [answer.timings for answer in said if answer.timings]
        assert len({(one.prepare, one.prefill) for one in timings}) == 1
        assert all(one.prefill > 0 and one.decode > 0 for one in timings)
