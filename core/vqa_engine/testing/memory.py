"""Standard tests of memory: what is taken comes back, and what is declared is true."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from vqa_engine.adapter import (
    Answer,
    CacheHolder,
    CostAware,
    MemoryProfile,
    ModelAdapter,
    Question,
    Sizable,
)
from vqa_engine.errors import BackendError
from vqa_engine.memory.audit import judge
from vqa_engine.memory.backends import backend
from vqa_engine.memory.controls import MemoryControls
from vqa_engine.results import LeakVerdict
from vqa_engine.testing import pictures
from vqa_engine.testing.bench import Bench, Said, ours, said, shown
from vqa_engine.testing.meter import Meter

BUDGET = 64 << 30
"""Bytes that strategies are bound under: those that need a budget find one."""


class MemoryTests:
    """Release, leaks, strategies, the profile, and what is kept on purpose."""

    bench: Bench

    def test_release_gives_memory_back(self) -> None:
        """After `release` the object holds nothing of the model, to the byte."""
        self.bench.warm_up()
        with self.bench.meter() as meter:
            floor = meter.read()
            self.bench.fresh()
            self._say()
            held = meter.read() - floor
            released = self.bench.let_go()
            residue = meter.read() - floor
        assert released is not None
        assert residue <= meter.residue, (
            f"Of {held} bytes {residue} stay after release(). Drop every reference to the "
            "model, its caches and its results; collect cycles; then clear the backend's pool."
        )

    def test_release_twice(self) -> None:
        """A second release is safe: the engine lets go of a model wherever it stops."""
        self.bench.loaded()
        adapter = self.bench.let_go()
        assert adapter is not None
        assert _raised(adapter) == "", "release() does nothing when nothing is loaded."

    def test_release_before_load(self) -> None:
        """Releasing what was never loaded is safe: a load that failed is followed by it."""
        adapter = self.bench.make()
        assert _raised(adapter) == "", "release() does nothing when nothing is loaded."

    def test_answer_after_release_is_refused(self) -> None:
        """A released model does not answer: a typed error says so."""
        self._say()
        adapter = self.bench.let_go()
        assert adapter is not None
        result: Answer | Exception
        try:
            result = adapter.answer(self._asked(), self.bench.capabilities.plan)
        except Exception as error:  # noqa: BLE001  the assertion judges it
            result = error
        assert ours(result), (
            "answer() after release() raises: AnswerError('The model is not loaded: call load "
            "first.', cause='adapter')."
        )

    def test_loads_again_after_release(self) -> None:
        """The same object loads a second time, and answers as it did."""
        self.bench.need_determinism()
        adapter = self.bench.fresh()
        first = self._say()
        adapter.release()
        try:
            adapter.load(self.bench.capabilities.model)
        except Exception as error:  # noqa: BLE001  an adapter may raise anything
            pytest.fail(f"load() after release() failed: {shown(error)}.", pytrace=False)
        assert self._say() == first, "load() starts from nothing: keep no state across release()."

    def test_no_leak_over_many_questions(self) -> None:
        """What stays after each question does not grow."""
        self.bench.fresh()
        with self.bench.meter() as meter:
            floors = list(self._floors(meter))
        verdict = judge(floors)
        assert not _leaks(verdict, meter), (
            f"After {len(floors)} questions {verdict.text}: {floors}. Let go of each question's "
            "results. What is kept on purpose is declared: write cached_bytes() and "
            "drop_caches() (vqa_engine.adapter.CacheHolder)."
        )

    def test_strategies_bind(self) -> None:
        """Every cleanup strategy of the profile finds the backend calls that it needs."""
        adapter = self.bench.loaded()
        profile = adapter.memory_profile()
        controls = MemoryControls(backend(profile.backend, profile.device), profile, adapter)
        controls.budget = BUDGET
        unbound = dict(_unbound(profile, controls))
        assert unbound == {}, "Take the strategy out of memory_profile(), or name its backend."

    def test_profile_estimate_is_near_the_truth(self) -> None:
        """The weights estimated before `load` are about those that the loaded model has."""
        model, adapter = self.bench.capabilities.model, self.bench.make()
        if isinstance(adapter, Sizable):
            estimate = adapter.profile_of(model)
        elif model.model is None:
            estimate = adapter.memory_profile()
        else:
            pytest.skip("the estimate is for the default checkpoint, and another one is tested")
        exact = self.bench.loaded().memory_profile()
        assert exact.backend == estimate.backend, "load() may not change the backend."
        if estimate.weights is not None and exact.weights is not None:
            assert self._near(estimate.weights, exact.weights), _off("memory_profile() before")

    def test_profile_agrees_with_measured_memory(self) -> None:
        """The weights of the loaded model's profile are what loading it really took."""
        self.bench.warm_up()
        with self.bench.meter() as meter:
            floor = meter.read()
            adapter = self.bench.fresh()
            self._say()
            measured = meter.read() - floor - self.bench.kept()
        weights = adapter.memory_profile().weights
        if weights is None or not meter.counts_weights:
            pytest.skip("nothing counts this model's weights, or its profile names none")
        assert self._near(weights, measured), _off("memory_profile() after")

    def test_dropped_caches_change_no_answer(self) -> None:
        """`drop_caches` gives back all that is kept, and the next answer is the same."""
        if not isinstance(self.bench.make(), CacheHolder):
            pytest.skip("the adapter keeps nothing on purpose (no CacheHolder)")
        self.bench.need_determinism()
        adapter = self.bench.fresh()
        assert isinstance(adapter, CacheHolder)
        before = self._say()
        adapter.drop_caches()
        assert adapter.cached_bytes() == 0, "drop_caches() lets go of everything it keeps."
        assert self._say() == before, "A cache may change the speed, never the answer."

    def test_cost_is_what_the_answer_took(self) -> None:
        """The cost predicted for a question is the one that its answer reports."""
        adapter = self.bench.loaded()
        if not isinstance(adapter, CostAware):
            pytest.skip("the adapter does not predict a question's cost (no CostAware)")
        predicted = adapter.cost([self._asked()], self.bench.capabilities.plan).prompt_tokens
        taken = self.bench.ask(self._asked()).tokens
        assert taken is None or self._near(predicted, taken.prompt), (
            "cost() counts the whole prompt."
        )

    def _asked(self) -> Question:
        return pictures.question(pictures.picture(), self.bench.capabilities.question)

    def _say(self) -> Said:
        return said(self.bench.ask(self._asked()))

    def _floors(self, meter: Meter) -> Iterator[int]:
        text = self.bench.capabilities.question
        gc.freeze()  # each reading collects, and what is older than the loop need not be seen
        for number in range(self.bench.capabilities.questions):
            # Not a colour's name: Pillow keeps each one that it ever read.
            image = pictures.picture((number * 29 % 256, number * 53 % 256, 90))
            self.bench.ask(pictures.question(image, text))
            yield meter.read() - self.bench.kept()
        gc.unfreeze()

    def _near(self, predicted: int, truth: int) -> bool:
        return abs(predicted - truth) <= self.bench.capabilities.profile_tolerance * truth


def _raised(adapter: ModelAdapter) -> str:
    try:
        adapter.release()
    except Exception as error:  # noqa: BLE001  an adapter may raise anything
        return shown(error)
    return ""


def _leaks(verdict: LeakVerdict, meter: Meter) -> bool:
    return verdict.leaks and verdict.rate > meter.drip


def _unbound(profile: MemoryProfile, controls: MemoryControls) -> Iterator[tuple[str, str]]:
    """Strategies whose calls are missing, with the backend's word; the others are undone."""
    for strategy in profile.strategies:
        try:
            bound = strategy.bind(controls)
        except BackendError as error:
            yield strategy.name, str(error)
        else:
            if bound.undo is not None:
                bound.undo()


def _off(when: str) -> str:
    return f"{when} load() is off by more than Capabilities.profile_tolerance (a share)."
