"""Standard tests of options scored by likelihood, for adapters that can (`ChoiceScorer`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from vqa_engine.adapter import BatchChoiceScorer, ChoiceScorer, ChoiceScores, Question
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

    def test_questions_are_scored_together_as_alone(self) -> None:
        """The options of several questions have the log-likelihoods that each has alone."""
        adapter = self._scorer()
        if not isinstance(adapter, BatchChoiceScorer):
            pytest.skip("the adapter scores one question at a time (no BatchChoiceScorer)")
        plan, each = self.bench.capabilities.plan, (OPTIONS, OPTIONS[:1], OPTIONS[::-1])
        asked = [self._question() for _ in each]
        outcomes = adapter.score_choices_batch(asked, each, plan)
        found = [one.loglikelihoods for one in outcomes if isinstance(one, ChoiceScores)]
        assert len(found) == len(each), (
            "score_choices_batch() returns ChoiceScores for each question, in their order."
        )
        alone = [pytest.approx(self._scores(options), abs=NEAR) for options in each]
        assert [list(one) for one in found] == alone, (
            "A batch gives each question the log-likelihoods that it has alone."
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
        adapter = self._scorer()
        try:
            scored = adapter.score_choices(self._question(), options, self.bench.capabilities.plan)
        except Exception as error:  # noqa: BLE001  an adapter may raise anything
            self.bench.let_go()
            pytest.fail(f"score_choices() raised {shown(error)}.", pytrace=False)
        assert isinstance(scored, ChoiceScores), "score_choices() returns ChoiceScores."
        return list(scored.loglikelihoods)

    def _question(self) -> Question:
        return pictures.question(
            pictures.picture(), self.bench.capabilities.question, choices=OPTIONS
        )
