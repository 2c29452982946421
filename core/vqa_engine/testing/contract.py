"""Standard tests of the contract: its shape, and what must hold before `load`."""

from __future__ import annotations

import pytest

from vqa_engine.adapter import Answer, CleanupStrategy, MemoryProfile
from vqa_engine.errors import InterpreterError
from vqa_engine.plugins import signatures
from vqa_engine.testing import pictures
from vqa_engine.testing.bench import Bench, ours, shown
from vqa_engine.testing.lightness import imported_by


class ContractTests:
    """Shape, import, and the object before its model is loaded."""

    bench: Bench

    def test_contract(self) -> None:
        """The factory takes no arguments, and makes an object with the four methods."""
        try:
            made = self.bench.make()
        except Exception as error:  # noqa: BLE001  a factory may raise anything
            pytest.fail(f"Making the adapter without arguments failed: {shown(error)}.", False)
        missing = signatures.missing_methods(made)
        assert missing == [], "Write every method of vqa_engine.ModelAdapter."

    def test_signatures(self) -> None:
        """Each method takes the arguments that the engine passes."""
        wrong = signatures.wrong_signatures(self.bench.make())
        assert wrong == [], "The engine calls the methods with positional arguments."

    def test_import_is_light(self) -> None:
        """Importing the plugin, and making the object, imports no model library."""
        target = self.bench.target
        if target is None:
            pytest.skip("only this process can import the adapter, so another cannot look at it")
        try:
            heavy = imported_by(target, self.bench.capabilities.heavy)
        except InterpreterError as error:
            why = error.detail or error
            pytest.fail(f"Importing {target} in a fresh interpreter failed: {why}", pytrace=False)
        assert heavy == (), "Import model libraries inside load(), not at the top."

    def test_memory_profile_before_load(self) -> None:
        """Before `load` there is an estimate, and it says that it is one."""
        profile = self.bench.make().memory_profile()
        assert isinstance(profile, MemoryProfile), "memory_profile() returns a MemoryProfile."
        assert not profile.exact, "Nothing is loaded yet: leave exact=False until load()."
        strangers = [one for one in profile.strategies if not isinstance(one, CleanupStrategy)]
        assert strangers == [], "strategies holds CleanupStrategy records."

    def test_answer_before_load_is_refused(self) -> None:
        """Without a model there is no answer: a typed error says so."""
        adapter = self.bench.make()
        question = pictures.question(pictures.picture(), self.bench.capabilities.question)
        result: Answer | Exception
        try:
            result = adapter.answer(question, self.bench.capabilities.plan)
        except Exception as error:  # noqa: BLE001  the assertion judges it
            result = error
        assert ours(result), (
            "answer() before load() raises: AnswerError('The model is not loaded: call load "
            "first.', cause='adapter')."
        )
