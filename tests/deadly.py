"""A host process whose inline adapter dies of one question: `python -m tests.deadly RUN`."""

from __future__ import annotations

import os
import signal
import sys

from tests.engine.test_batches import Together, asked
from vqa_engine import Answer, Engine, GenerationPlan, Question


class Deadly(Together):
    """Dies of question 2, whoever is asked beside it."""

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        if question.question_id == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(question, plan)


if __name__ == "__main__":
    with Engine(adapters=[Deadly], isolation="inline") as engine:
        engine.run(asked(8), sys.argv[1])
