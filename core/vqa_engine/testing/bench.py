"""The test bench: holds one adapter at a time, loads it, asks it, lets it go."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

import pytest

from vqa_engine.adapter import (
    Answer,
    BatchAdapter,
    CacheHolder,
    GenerationPlan,
    ModelAdapter,
    Question,
)
from vqa_engine.errors import VqaEngineError
from vqa_engine.failures import place
from vqa_engine.memory.fit import expected_profile
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins import signatures
from vqa_engine.session.wording import as_planned, finished
from vqa_engine.testing import pictures
from vqa_engine.testing.capabilities import Capabilities
from vqa_engine.testing.meter import Meter, meter

Said = tuple[str, tuple[int, ...]]
"""What two answers have to agree on: the text and the token ids."""

CONTRACT, SIGNATURES = "test_contract", "test_signatures"
PLAIN = "test_answers_a_plain_question"


class Bench:
    """One adapter under test.

    `given` is what the author wrote: an entry-point name, a class, or a factory. At most
    one model is loaded at any time. After a question that raised, the next one is put to
    a model that was loaded afresh, so that one fault fails one test.
    """

    def __init__(self, given: object, capabilities: Capabilities) -> None:
        self.given, self.capabilities = given, capabilities
        self._adapter: ModelAdapter | None = None
        self._soiled = self._erred = self._warm = False
        self._blocked: str | None = None

    @property
    def factory(self) -> Callable[[], ModelAdapter]:
        """What makes the adapter; the plugin is imported for it.

        Raises:
            AdapterError: no plugin has this name, or its import failed.
        """
        named = isinstance(self.given, str)
        given = plugins.load(plugins.ADAPTERS, str(self.given)) if named else self.given
        return cast(Callable[[], ModelAdapter], given)

    @property
    def target(self) -> str | None:
        """`module:name` of the factory, None when another process could not import it."""
        if isinstance(self.given, str):
            return plugins.select(plugins.ADAPTERS, self.given).target
        module = getattr(self.given, "__module__", "__main__")
        name = getattr(self.given, "__qualname__", "<locals>")
        return None if module == "__main__" or "<locals>" in name else f"{module}:{name}"

    @property
    def blocked(self) -> str:
        """The basic test that fails, so that no other means anything; empty if none."""
        if self._blocked is None:
            self._blocked = self._find_block()
        return self._blocked

    def make(self) -> ModelAdapter:
        """A new object, not loaded."""
        return self.factory()

    def loaded(self) -> ModelAdapter:
        """The adapter with its model; loaded afresh after an error."""
        if self._adapter is None or self._soiled:
            return self.fresh()
        return self._adapter

    def fresh(self) -> ModelAdapter:
        """A new object with a model loaded just now; any other is let go first."""
        self.let_go()
        adapter = self.make()
        adapter.load(self.capabilities.model)
        self._adapter, self._soiled, self._erred, self._warm = adapter, False, False, True
        return adapter

    def let_go(self) -> ModelAdapter | None:
        """Release the model, and return the released object, None if there was none."""
        adapter, self._adapter = self._adapter, None
        if adapter is not None:
            adapter.release()
        return adapter

    def ask(self, question: Question, plan: GenerationPlan | None = None) -> Answer:
        """Put a question that has to be answered."""
        result = self.attempt(question, plan)
        if isinstance(result, Exception):
            pytest.fail(f"Asking {_shown(question)} raised {shown(result)}.", pytrace=False)
        return result

    def attempt(self, question: Question, plan: GenerationPlan | None = None) -> Answer | Exception:
        """Put a question that may fail; an error is returned, not raised.

        A second error of one model may be the first one's doing, so it is looked at again
        with a model that was loaded afresh.
        """
        erred, result = self._erred, self._put(question, plan)
        if erred and isinstance(result, Exception):
            self._soiled = True
            result = self._put(question, plan)
        return result

    def _put(self, question: Question, plan: GenerationPlan | None) -> Answer | Exception:
        adapter = self.loaded()
        try:
            return _answer(adapter, question, plan or self.capabilities.plan)
        except Exception as error:  # noqa: BLE001  an adapter may raise anything; tests judge it
            self._erred, self._soiled = True, not ours(error)
            return error

    def keep(self) -> None:
        """Take the model as it is after an error: the next question goes to the same one."""
        self._soiled = self._erred = False

    def say(self, image: Any, text: str) -> Said:
        """What the adapter says about an image."""
        return said(self.ask(pictures.question(image, text)))

    def need_determinism(self) -> None:
        """Skip what compares answers, if even a repeated question gets several."""
        if not self._deterministic:
            pytest.skip("nothing can be compared: see test_determinism")

    def need_independence(self) -> None:
        """Skip what compares answers after different texts, if texts have an after-effect."""
        self.need_determinism()
        if not self._independent:
            pytest.skip("answers depend on the text before: see test_order_independence")

    def need_no_reuse(self) -> None:
        """Skip what overwrites a file, if even two images in memory are taken for one."""
        self.need_independence()
        alone, after = self.reuse()
        if alone != after:
            pytest.skip("images are taken for each other: see test_no_wrong_image_reuse")

    def alone(self, colour: str) -> Said:
        """What is said of a plain picture by a model that was loaded just now."""
        if colour not in self._alone:
            (self._alone[colour],) = self._series((colour, ""))
        return self._alone[colour]

    def reuse(self) -> tuple[Said, Said]:
        """What is said of a blue picture: by itself, and after a red one."""
        return self.alone("blue"), self._after_red

    @cached_property
    def _alone(self) -> dict[str, Said]:
        return {}

    @cached_property
    def _deterministic(self) -> bool:
        self._alone["red"], second, third = self._series(("red", ""), ("red", ""), ("red", ""))
        return second == third

    @cached_property
    def _independent(self) -> bool:
        _, after = self._series(("red", pictures.SECOND), ("red", ""))
        return self.alone("red") == after

    @cached_property
    def _after_red(self) -> Said:
        _, after = self._series(("red", ""), ("blue", ""))
        return after

    def _series(self, *asked: tuple[str, str]) -> list[Said]:
        """Answers of a model loaded just now; an empty text is the capabilities' question."""
        self.fresh()
        text = self.capabilities.question
        return [self.say(pictures.named(name), other or text) for name, other in asked]

    def warm_up(self) -> None:
        """Have loaded once before anything is measured: libraries come with the first load."""
        if not self._warm:
            self.loaded()
        self.let_go()

    def kept(self) -> int:
        """Bytes that the loaded adapter keeps on purpose."""
        adapter = self.loaded()
        return adapter.cached_bytes() if isinstance(adapter, CacheHolder) else 0

    def meter(self) -> Meter:
        """A meter for the backend and the device that the adapter's profile names."""
        profile = expected_profile(self.make(), self.capabilities.model)
        return meter(profile.backend, profile.device)

    def _find_block(self) -> str:
        try:
            made = self.make()
        except Exception:  # noqa: BLE001  the contract test shows what it was
            return CONTRACT
        if signatures.missing_methods(made):
            return CONTRACT
        return SIGNATURES if signatures.wrong_signatures(made) else self._find_silence()

    def _find_silence(self) -> str:
        question = pictures.question(pictures.picture(), self.capabilities.question)
        try:
            return "" if isinstance(self.attempt(question), Answer) else PLAIN
        except Exception:  # noqa: BLE001  loading raised, and the plain test shows what
            return PLAIN


def _answer(adapter: ModelAdapter, question: Question, plan: GenerationPlan) -> Answer:
    """Ask as the engine does: a `BatchAdapter` only through `answer_batch`."""
    outcome: Answer | VqaEngineError
    if isinstance(adapter, BatchAdapter):
        (outcome,) = adapter.answer_batch([question], plan, None)
    else:
        outcome = adapter.answer(question, plan)
    if isinstance(outcome, VqaEngineError):
        raise outcome
    made = as_planned(outcome, plan)
    return finished(made, plan) if isinstance(made, Answer) else outcome


def said(answer: Answer) -> Said:
    """What has to be the same in two answers to one question."""
    return answer.text, tuple(answer.token_ids)


def shown(error: BaseException) -> str:
    """An exception in one line, with the adapter's file and line."""
    return f"{type(error).__name__}: {error}".rstrip(": ") + place(error)


def ours(result: object) -> bool:
    """Whether it is an error of the engine's tree, raised on purpose."""
    return isinstance(result, VqaEngineError)


def _shown(question: Question) -> str:
    text = question.text if len(question.text) <= 40 else f"{question.text[:40]}…"
    return f"{text!r} about {question.image!r:.60}"
