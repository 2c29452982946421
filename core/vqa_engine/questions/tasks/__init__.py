"""Tasks: benchmarks as TOML cards without code.

`card` is what a card says, `find` where cards are, `task_set` the questions of one, `hub`
their download, and `wording` how a question is put to a family of models.
"""

from __future__ import annotations

from vqa_engine.questions.tasks import find
from vqa_engine.questions.tasks.card import Task
from vqa_engine.questions.tasks.task_set import TaskSet, blinded, is_here, load_task, presented

__all__ = ["Task", "TaskSet", "blinded", "find", "is_here", "load_task", "presented"]
