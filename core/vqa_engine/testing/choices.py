"""Standard tests of options scored by likelihood, for adapters that can (`ChoiceScorer`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from vqa_engine.adapter import ChoiceScorer, ChoiceScores
from vqa_engine.testing import pictures
from vqa_engine.testing.bench import Bench, shown

OPTIONS = ("red", "a yellow flower in a vase", "7")
NEAR = 0.05
"""By how much log-likelihoods may differ: half-precision models round by about as much."""


class ChoiceTests:
    """What the log-likelihoods of a question's options have to be."""

    bench: Bench

    def test_each_option_has_a_loglikelihood(self) -> None:
        """One number for each option, finite and not above 0."""
        scores = self._scores(OPTIONS)
        assert len(scores) == len(OPTIONS), "loglikelihoods has one number for each option."
        assert all(math.isfinite(one) and one <= 1e-3 for one in scores), (
            "A log-likelihood is the sum of the logarithms of probabilities: at most 0."
        )

    def test_options_do_not_change_each_other(self) -> None:
        """An option has the same log-likelihood wherever it comes among the others."""
        scores = self._scores(OPTIONS)
        assert self._scores(OPTIONS[::-1])[::-1] == pytest.approx(scores, abs=NEAR), (
            "Score each option behind the prompt alone, not behind the option before it."
        )
        assert self._scores(OPTIONS[:1]) == pytest.approx(scores[:1], abs=NEAR), (
            "Return the log-likelihood of each option, not its share among the options."
        )

    def test_scoring_changes_no_answer(self) -> None:
        """The same question about the same picture is answered as before."""
        self._scorer()
        self.bench.need_determinism()
        asked = self.bench.capabilities.question
        before = self.bench.say(pictures.picture(), asked)
        self._scores(OPTIONS)
        assert self.bench.say(pictures.picture(), asked) == before, (
            "What score_choices() put into a cache has to go before the next question."
        )

    def _scorer(self) -> ChoiceScorer:
        adapter = self.bench.loaded()
        if not isinstance(adapter, ChoiceScorer):
            pytest.skip("the adapter does not score choices (no ChoiceScorer)")
        return adapter

    def _scores(self, options: Sequence[str]) -> list[float]:
        """The log-likelihoods of these options of the same question."""
        question = pictures.question(
            pictures.picture(), self.bench.capabilities.question, choices=OPTIONS
        )
        adapter = self._scorer()
        try:
            scored = adapter.score_choices(question, options, self.bench.capabilities.plan)
        except Exception as error:  # noqa: BLE001  an adapter may raise anything
            self.bench.let_go()
            pytest.fail(f"score_choices() raised {shown(error)}.", pytrace=False)
        assert isinstance(scored, ChoiceScores), "score_choices() returns ChoiceScores."
        return list(scored.loglikelihoods)
