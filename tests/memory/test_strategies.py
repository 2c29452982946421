"""Each strategy does what it says on real MLX, or is refused by name at load."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import msgspec
import pytest
from attrs import evolve, frozen

from tests.builders import a_question, questions
from tests.memory.adapters import Leaking, Steady
from tests.memory.running import Ran, run
from vqa_engine.adapter import (
    Answer,
    Bound,
    CleanupStrategy,
    Controls,
    Described,
    GenerationPlan,
    MemoryProfile,
    ModelRef,
    Moment,
    Question,
    QuestionCost,
    portable,
    restore,
)
from vqa_engine.errors import BackendError, OutOfMemory, VqaEngineError
from vqa_engine.memory.backend import NoBackend
from vqa_engine.memory.controls import MemoryControls
from vqa_engine.memory.gauges import PressureLevelGauge, System
from vqa_engine.memory.governor import Governor
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.memory.strategies import (
    CacheLimit,
    EncoderBatch,
    EveryQuestions,
    OnPressure,
    Predictive,
    RecycleWorker,
)
from vqa_engine.session.local import LocalSession
from vqa_engine.session.protocol import Settled
from vqa_engine.session.resident import Resident
from vqa_engine_adapters.mlx.memory import MlxBackend

MIB = 1 << 20


def with_strategies(*strategies: CleanupStrategy, of: type[Steady] = Steady) -> Steady:
    adapter = of()
    adapter.strategies = strategies
    return adapter


def calls(ran: Ran, call: str) -> list[int]:
    """The questions after which a call was made."""
    return [
        number
        for number, reply in enumerate(ran.replies, start=1)
        for event in reply.events
        if event.call == call
    ]


def test_a_cache_limit_bounds_the_pool_and_is_put_back() -> None:
    before = mx.set_cache_limit(77 * MIB)
    ran = run(with_strategies(CacheLimit(10_000)), 50)
    assert max(reading.cache or 0 for reading in ran.readings) <= 10_000 + 20_000
    assert mx.set_cache_limit(before) == 77 * MIB


class Hasty(Steady):
    """A chain of steps that MLX is asked for all at once; three megabytes are alive at a time."""

    def think(self) -> None:
        first = states = mx.full((512, 512), 1e-3)
        for _ in range(30):
            states = mx.sin(states) + mx.exp(first)
        mx.eval(states)


def test_mlx_itself_waits_at_the_budget_and_no_longer_after_release() -> None:
    before = mx.set_memory_limit(1 << 40)
    mx.set_memory_limit(1 << 40)
    peaks = [
        max(one.peak or 0 for one in run(Hasty(), 1, policy=MemoryPolicy(budget=limit)).readings)
        for limit in (1 << 30, 6 * MIB)
    ]
    assert peaks[1] <= 8 * MIB < peaks[0]  # it waits once it is past it
    assert mx.set_memory_limit(before) == 1 << 40


class Ahead(MlxBackend):
    """MLX as it is on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.runs_ahead = True


class Lasting(Hasty):
    """Keeps a KV cache of 100 MB as long as it answers."""

    def memory_profile(self) -> MemoryProfile:
        return evolve(super().memory_profile(), kv_per_token=10_000)

    def cost(self, questions: Sequence[Question], plan: GenerationPlan) -> QuestionCost:
        return QuestionCost(prompt_tokens=10, cache_tokens=10_000)


def looked_after(adapter: Steady, memory: MlxBackend) -> Governor:
    """The governor of a loaded adapter."""
    governor = Governor(adapter.memory_profile(), adapter=adapter, memory=memory)
    adapter.load(ModelRef())
    governor.bind(adapter.memory_profile())
    return governor


def test_what_runs_ahead_is_held_to_what_a_question_needs_until_release(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vqa_engine.memory.governor._DECODING", 0)
    before = mx.set_memory_limit(1 << 40)
    mx.set_memory_limit(1 << 40)
    peaks = {}
    for memory in (MlxBackend(), Ahead()):
        adapter = Hasty()
        governor = looked_after(adapter, memory)
        for question in questions(6):
            governor.plan([question], GenerationPlan())
            answer = adapter.answer(question, GenerationPlan())
            held = mx.set_memory_limit(1 << 40)
            reading = governor.account(answer)
            peaks[memory.runs_ahead] = (reading and reading.peak) or 0
            assert (held < 8 * MIB) == memory.runs_ahead
            assert mx.set_memory_limit(1 << 40) > 8 * MIB  # between questions it is not held
        adapter.release()
        governor.settle()
    assert peaks[True] <= 8 * MIB < peaks[False]
    assert mx.set_memory_limit(before) == 1 << 40


def test_what_runs_ahead_never_waits_while_it_decodes() -> None:
    adapter, before = Lasting(), mx.set_memory_limit(1 << 40)
    governor = looked_after(adapter, Ahead())
    held = (governor.read().active or 0) + 100_000_000
    for question in questions(3):
        governor.plan([question], GenerationPlan())
        assert mx.set_memory_limit(1 << 40) >= held + 32 * MIB
        governor.account(adapter.answer(question, GenerationPlan()))
    adapter.release()
    governor.settle()
    mx.set_memory_limit(before)


def test_every_so_many_questions_means_it() -> None:
    ran = run(with_strategies(EveryQuestions(5, dynamic=False)), 20)
    assert calls(ran, "clear_cache") == [5, 10, 15, 20]


def test_an_interval_grows_while_there_is_nothing_to_clean() -> None:
    ran = run(with_strategies(EveryQuestions(4)), 60)
    assert calls(ran, "clear_cache") == [4, 12, 28, 60]


def test_events_say_what_was_freed_and_for_which_question() -> None:
    ran = run(with_strategies(EveryQuestions(5, dynamic=False)), 5)
    [event] = ran.replies[-1].events
    assert (event.strategy, event.call, event.question_id) == ("EveryQuestions", "clear_cache", 4)
    assert event.freed > 0
    assert event.seconds > 0


def test_pressure_cleans_once_until_it_is_calm_again() -> None:
    adapter = with_strategies(OnPressure(threshold=0.5, severe=0.9, calm=0.2))
    controls, bound = bound_to(adapter.strategies[0], budget=100)
    shares = [10, 55, 60, 92, 95, 60, 10, 55]
    for number, held in enumerate(shares, start=1):
        assert bound.after is not None
        bound.after(Moment(number=number, active=held, cache=0, budget=100))
    names = [event.strategy for event in controls.drain()]
    normal, aggressive = "OnPressure normal", "OnPressure aggressive"
    assert names == [normal, aggressive, aggressive, normal]


def test_pressure_of_the_system_counts_like_the_shares() -> None:
    controls, bound = bound_to(OnPressure(), budget=100)
    for number, pressure in enumerate([0, 1, 1, 2, 1, 0, 1], start=1):
        assert bound.after is not None
        bound.after(Moment(number=number, active=10, cache=0, budget=100, pressure=pressure))
    names = [event.strategy for event in controls.drain()]
    normal, aggressive = "OnPressure normal", "OnPressure aggressive"
    assert names == [normal, aggressive, aggressive, normal]


def test_a_system_short_of_memory_is_noticed_in_a_run() -> None:
    strain = System(pressure=(PressureLevelGauge(lambda _name: 4),))
    adapter = with_strategies(OnPressure(threshold=0.9))
    adapter.load(ModelRef())
    governor = Governor(adapter.memory_profile(), adapter=adapter, system=strain)
    governor.bind(adapter.memory_profile())
    question = a_question(1)
    plan = governor.plan([question], GenerationPlan())
    assert plan is not None
    governor.account(adapter.answer(question, plan))
    calls = [(event.strategy, event.call) for event in governor.drain(question)]
    assert calls == [
        ("OnPressure aggressive", "gc.collect"),
        ("OnPressure aggressive", "clear_cache"),
    ]


def test_pressure_wants_its_thresholds_in_order() -> None:
    with pytest.raises(ValueError, match="calm < threshold"):
        OnPressure(threshold=0.5, calm=0.6)


def test_predictive_cleans_only_before_what_would_not_fit() -> None:
    made = mx.zeros((MIB,))
    mx.eval(made)
    del made
    budget = mx.get_active_memory() + 5 * MIB
    controls, bound = bound_to(Predictive(share=1.0), budget=budget)
    assert bound.before is not None
    bound.before(Moment(number=1, budget=budget, predicted=0))
    assert controls.drain() == ()
    bound.before(Moment(number=2, budget=budget, predicted=3 * MIB))
    assert [event.call for event in controls.drain()] == ["clear_cache"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "loads"),
    [(RecycleWorker(after=10), 3), (RecycleWorker(residue=20 * 2048), 2)],
)
def test_recycling_loads_afresh(strategy: CleanupStrategy, loads: int) -> None:
    adapter = with_strategies(strategy, of=Leaking)
    ran = run(adapter, 29)
    assert adapter.loads == loads
    assert all(reply.answer for reply in ran.replies)


def test_recycling_is_a_wish_of_the_exchange() -> None:
    resident = Resident(with_strategies(RecycleWorker(after=2)), ModelRef())
    resident.load()
    exchanges = [
        resident.ask([a_question(n)], 1, GenerationPlan(), lambda _begun: None) for n in range(2)
    ]
    resident.release()
    assert [exchange.recycle for exchange in exchanges] == ["", "2 questions since load"]


def test_recycling_wants_a_reason() -> None:
    with pytest.raises(ValueError, match="at least one"):
        RecycleWorker()


def test_an_encoder_batch_stands_on_the_plan() -> None:
    reply = run(with_strategies(EncoderBatch(3)), 1).replies[0]
    assert reply.answer is not None
    assert reply.answer.plan.encoder_batch == 3


@pytest.mark.parametrize(
    ("strategy", "call"),
    [
        (CacheLimit(5), "set_cache_limit"),
        (EveryQuestions(), "clear_cache"),
        (OnPressure(), "clear_cache"),
        (Predictive(calls=("gc.collect",)), "Predictive: budget"),
        (RecycleWorker(residue=1), "read active"),
        (EveryQuestions(calls=("drop_caches",)), "drop_caches"),
        (CleanupStrategy(), "CleanupStrategy.bind"),
        (Described("Foreign"), "Described.bind"),
    ],
)
def test_a_strategy_that_cannot_act_is_refused_by_the_name_of_the_call(
    strategy: CleanupStrategy, call: str
) -> None:
    with pytest.raises(BackendError) as error:
        strategy.bind(MemoryControls(NoBackend(), MemoryProfile()))
    assert error.value.call == call


def test_a_refused_strategy_leaves_no_model_behind() -> None:
    adapter = with_strategies(EveryQuestions(calls=("defragment",)))
    mx.clear_cache()
    before = mx.get_active_memory()
    with pytest.raises(BackendError, match="defragment"):
        LocalSession(adapter, ModelRef()).load()
    assert adapter.loads == 1
    assert mx.get_active_memory() == before


@frozen
class Shouting(CleanupStrategy):
    """A third party's strategy with a behaviour of its own."""

    words: tuple[str, ...] = ("hush",)

    def bind(self, controls: Controls) -> Bound:
        def after(moment: Moment) -> None:
            controls.note(self.name, self.words[moment.number % len(self.words)])

        return Bound(after=after)


def test_a_third_party_brings_its_own_behaviour() -> None:
    ran = run(with_strategies(Shouting(("one", "two"))), 3)
    assert [event.call for event in ran.events] == ["two", "one", "two"]


@frozen
class Broken(CleanupStrategy):
    """Fails after the second question."""

    def bind(self, controls: Controls) -> Bound:
        def after(moment: Moment) -> None:
            if moment.number == 2:
                raise ZeroDivisionError("by zero")

        return Bound(after=after)


def test_a_strategy_that_fails_is_set_aside_and_the_run_goes_on() -> None:
    ran = run(with_strategies(Broken(), Shouting(("go on",))), 3)
    assert all(reply.answer for reply in ran.replies)
    details = [event.detail for event in ran.events if event.strategy == "set aside"]
    assert details == ["ZeroDivisionError: by zero"]
    assert calls(ran, "go on") == [1, 2, 3]


def test_a_profile_crosses_the_process_boundary_as_descriptions() -> None:
    profile = MemoryProfile(backend="mlx", strategies=(CacheLimit(5), Shouting(("a",))))
    wire = msgspec.msgpack.encode(portable(profile))
    back = msgspec.msgpack.decode(wire, type=MemoryProfile, dec_hook=restore)
    assert [(one.name, one.settings) for one in back.strategies if isinstance(one, Described)] == [
        ("CacheLimit", {"limit": 5}),
        ("Shouting", {"words": ["a"]}),
    ]
    assert portable(back) == back


@pytest.mark.parametrize(
    ("weights", "budget", "limit"),
    [
        (0, None, 32 * MIB),
        (4 << 30, None, 256 * MIB),
        (100 << 30, None, 512 * MIB),
        (2 << 30, (2 << 30) + 64 * MIB, 16 * MIB),
    ],
)
def test_a_pool_without_a_number_follows_the_model_and_the_budget(
    weights: int, budget: int | None, limit: int
) -> None:
    controls = MemoryControls(MlxBackend(), MemoryProfile(backend="mlx", weights=weights))
    controls.budget = budget
    bound = CacheLimit().bind(controls)
    assert bound.undo is not None
    bound.undo()
    assert controls.cache_limit == limit


def test_a_pool_shrinks_to_what_questions_were_seen_to_need() -> None:
    controls = MemoryControls(MlxBackend(), MemoryProfile(backend="mlx", weights=4 << 30))
    bound = CacheLimit().bind(controls)
    controls.largest = 40 * MIB
    assert bound.after is not None
    assert bound.undo is not None
    bound.after(Moment(number=32))
    bound.undo()
    assert controls.cache_limit == 40 * MIB


def test_a_budget_is_told_at_load() -> None:
    assert run(Steady(), 0, policy=MemoryPolicy(budget=9 * MIB)).loaded.budget == 9 * MIB


def bound_to(strategy: CleanupStrategy, budget: int) -> tuple[MemoryControls, Bound]:
    controls = MemoryControls(MlxBackend(), MemoryProfile(backend="mlx"))
    controls.budget = budget
    return controls, strategy.bind(controls)


@frozen
class Counting(CleanupStrategy):
    """Notes the number of each moment."""

    def bind(self, controls: Controls) -> Bound:
        return Bound(after=lambda moment: controls.note(self.name, str(moment.number)))


class FailingTogether(Steady):
    """Answers no two questions together: each has an error of its own, or one is raised."""

    raises = False

    def batch_size(self, upcoming: Sequence[Question], plan: GenerationPlan) -> int:
        return len(upcoming)

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        if len(questions) == 1:
            return [self.answer(questions[0], plan)]
        if self.raises:
            raise OutOfMemory("too much")
        return [OutOfMemory("too much") for _ in questions]


class RaisingTogether(FailingTogether):
    """Raises the one error."""

    raises = True


@pytest.mark.parametrize("kind", [FailingTogether, RaisingTogether])
def test_a_question_that_is_asked_again_alone_is_counted_once(kind: type[Steady]) -> None:
    adapter = with_strategies(Counting(), of=kind)
    alone = [a_question(number) for number in range(4)]
    session = LocalSession(adapter, ModelRef())
    session.load()
    settled: list[Settled] = []
    while left := alone[len(settled) :]:
        settled += session.ask(left, GenerationPlan())
    session.release()
    numbers = [e.call for _, reply in settled for e in reply.events if e.strategy == "Counting"]
    assert numbers == ["4"] * 5
