"""An adapter that takes its time without taking the processor."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.fakes import Instant
from vqa_engine.adapter import Answer, GenerationPlan, ModelRef, Question
from vqa_engine.images import open_image
from vqa_engine.plugins.spec import AdapterSpec


class Slow(Instant):
    """Says how large the picture is, and which question it was asked."""

    seconds = 0.03

    def load(self, model: ModelRef) -> None:
        """Wait until as many have loaded as the option `meet` says, in the folder `at`."""
        if "meet" not in model.options:
            return
        folder, until = Path(model.options["at"]), time.monotonic() + 60
        (folder / str(os.getpid())).touch()
        while len(list(folder.iterdir())) < model.options["meet"]:
            assert time.monotonic() < until
            time.sleep(0.02)

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        time.sleep(self.seconds)
        width, height = open_image(question).size
        return Answer(text=f"{question.question_id}: {width}x{height}", plan=plan)


def meeting(count: int, folder: Path) -> AdapterSpec:
    """`Slow`, whose first answer waits until it is loaded in that many places."""
    folder.mkdir(exist_ok=True)
    model = ModelRef(options={"meet": count, "at": str(folder)})
    return AdapterSpec(name="slow", target="tests.crew.slow:Slow", model=model)
