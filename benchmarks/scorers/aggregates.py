"""Figures over whole sets, each against an independent implementation of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from benchmarks.scorers.oracles import Oracles
from benchmarks.scorers.pairs import chosen, yes_no
from benchmarks.scorers.restated import official_vqa

from vqa_engine.adapter import Question
from vqa_engine.scoring import Scoreboard, metric

_ROWS = 20_000


@frozen(kw_only=True)
class Figures:
    """An aggregate over this many rows; each pair is one figure of ours and of the oracle."""

    aggregate: str
    oracle: str
    rows: int
    pairs: Sequence[tuple[float, float]]


def aggregates(oracles: Oracles) -> Iterator[Figures]:
    """Every aggregate with its oracle, as far as they can be reached."""
    for compared in (yes_no_figures, hallusion, mme, circular, macro, by, points, letters):
        yield from compared(oracles)


def yes_no_figures(oracles: Oracles) -> Iterator[Figures]:
    """POPE's whole script on random answers."""
    script = oracles.text("pope", "evaluate.py")
    if script is None:
        return
    drawn, board = random.Random(0), Scoreboard(metric("yes-no-pope"))
    pairs = [yes_no(drawn) for _ in range(_ROWS)]
    for said, question in pairs:
        board.add(said, question)
    theirs = _run_pope(script, pairs)
    ours = board.snapshot().figures
    names = {"precision": "precision", "recall": "recall", "F1": "f1", "answered yes": "yes_ratio"}
    yield Figures(
        aggregate="yes-no",
        oracle="AoiDragon/POPE evaluate.py",
        rows=_ROWS,
        pairs=[(ours[one].value, 100 * theirs[other]) for one, other in names.items()],
    )


def _run_pope(script: str, pairs: Sequence[tuple[str, Question]]) -> dict[str, Any]:
    """What the script has in its variables at its end."""
    with tempfile.TemporaryDirectory() as folder:
        files = {"ans_file": Path(folder, "said"), "label_file": Path(folder, "truths")}
        files["ans_file"].write_text("\n".join(json.dumps({"answer": one}) for one, _ in pairs))
        files["label_file"].write_text(
            "\n".join(json.dumps({"label": one.answers[0]}) for _, one in pairs)
        )
        for name, file in files.items():
            script = script.replace(f"{name} = ''", f"{name} = {str(file)!r}")
        found: dict[str, Any] = {}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(script, "evaluate.py", "exec"), found)
        return found


def hallusion(oracles: Oracles) -> Iterator[Figures]:
    """Random correctness on HallusionBench's real structure."""
    utils = oracles.script("hallusion", "utils.py")
    data = json.loads(oracles.text("hallusion", "HallusionBench.json") or "[]")
    if utils is None or not data:
        return
    drawn, board = random.Random(0), Scoreboard(metric("hallusion"))
    for number, row in enumerate(data):
        row["correct"] = drawn.random() < 0.8
        row["model"] = str(int(row["correct"]))
        row["same"] = "1"
        labels = {name: str(row[name]) for name in ("category", "subcategory", "set_id",
                                                   "figure_id", "question_id")}  # fmt: skip
        said = ("no", "yes")[int(row["gt_answer"]) == row["correct"]]
        board.add(said, _asked(number, answers=(row["gt_answer"],), labels=labels))
    official = {
        "aAcc": utils.get_eval_all(data, "model"),
        "fAcc": utils.get_eval_fig(data),
        "qAcc": utils.get_eval_pair_all(data, "model"),
    }
    theirs = {name: 100 * one["correct"] / one["total"] for name, one in official.items()}
    theirs["mean of the three"] = sum(theirs.values()) / 3
    ours = board.snapshot().figures
    yield Figures(
        aggregate="hallusion",
        oracle="HallusionBench utils.py",
        rows=len(data),
        pairs=[(ours[name].value, value) for name, value in theirs.items()],
    )


class _Rows(list[dict[str, Any]]):
    """Rows as the part of a data frame that MMBench's evaluator looks at."""

    @property
    def iloc(self) -> _Rows:
        return self


def circular(oracles: Oracles) -> Iterator[Figures]:
    """Letters for rotated questions: right throughout by lmms-eval's MMBench and by ours."""
    evaluator = oracles.module("lmms_eval.tasks.mmbench.mmbench_evals").MMBench_Evaluator()
    evaluator.build_choices = lambda row: dict(row["choices"])
    drawn, board, hits, first = random.Random(0), Scoreboard(metric("circular")), 0, 0
    groups, count = 6000, 0
    for group in range(groups):
        choices = tuple("wxyz"[: drawn.randint(2, 4)])
        letters = "ABCD"[: len(choices)]
        rows = _Rows()
        for rotation in range(len(choices)):
            right = drawn.randrange(len(choices))
            said = letters[right] if drawn.random() < 0.8 else drawn.choice(letters)
            named = zip(letters, choices, strict=True)
            rows.append({"index": rotation, "prediction": said, "choices": tuple(named)})
            board.add(said, _asked(f"{group}@{rotation}", choices=choices, group=group,
                                   right=right, labels={"rotation": str(rotation)}))  # fmt: skip
            rows[-1]["answer"] = letters[right]
        truths = {row["index"]: row["answer"] for row in rows}
        hits += evaluator.eval_sub_data(rows, truths, static_only=True)
        first += rows[0]["prediction"] == rows[0]["answer"]
        count += len(rows)
    ours = board.snapshot().figures
    yield Figures(
        aggregate="circular",
        oracle="lmms-eval MMBench_Evaluator",
        rows=count,
        pairs=[
            (ours["circular"].value, 100 * hits / groups),
            (ours["rotation 0"].value, 100 * first / groups),
        ],
    )


def mme(oracles: Oracles) -> Iterator[Figures]:
    """Random answers to as many images as make the rows: points by lmms-eval and ours."""
    utils = oracles.module("lmms_eval.tasks.mme.utils")
    drawn, board, rows = random.Random(0), Scoreboard(metric("mme")), []
    subtasks = [one for part in utils.eval_type_dict.values() for one in part]
    for number in range(_ROWS // 2):
        subtask = drawn.choice(subtasks)
        for truth in ("yes", "no"):
            right = drawn.random() < 0.8
            rows.append({"question_id": number, "category": subtask, "score": float(right)})
            labels = {"subtask": subtask}
            question = _asked(len(rows), answers=(truth,), image_id=number, labels=labels)
            board.add(truth if right else "maybe", question)
    theirs = {
        part: utils.mme_aggregate_results([one for one in rows if one["category"] in names])
        for part, names in utils.eval_type_dict.items()
    }
    ours = board.snapshot().figures
    yield Figures(
        aggregate="mme",
        oracle="lmms-eval mme_aggregate_results",
        rows=len(rows),
        pairs=[(ours[part.lower()].value, value) for part, value in theirs.items()],
    )


def macro(oracles: Oracles) -> Iterator[Figures]:
    """The mean over MMStar's kinds of question by lmms-eval."""
    utils = oracles.module("lmms_eval.tasks.mmstar.utils")
    drawn, board, rows = random.Random(0), Scoreboard(metric("exact+macro:kind")), []
    for number in range(_ROWS):
        kind = f"kind {int(drawn.random() ** 2 * 18)}"
        right = drawn.random() < 0.5
        rows.append({"l2_category": kind, "score": float(right)})
        board.add(str(int(right)), _asked(number, answers=("1",), labels={"kind": kind}))
    yield Figures(
        aggregate="macro",
        oracle="lmms-eval mmstar_aggregate_results",
        rows=_ROWS,
        pairs=[
            (
                board.snapshot().figures["mean over kind"].value,
                100 * utils.mmstar_aggregate_results(rows),
            )
        ],
    )


def by(oracles: Oracles) -> Iterator[Figures]:
    """Accuracies by type of question and answer by the official code of VQA v2."""
    official = official_vqa(oracles)
    if official is None:
        return
    drawn = random.Random(0)
    board = Scoreboard(metric("vqa-v2-official+by:question_type+by:answer_type"))
    pairs = []
    for number in range(_ROWS):
        said, votes = drawn.choice("ab"), tuple(drawn.choice("abc") for _ in range(10))
        types = {part: f"{part} {drawn.randrange(9)}" for part in ("question_type", "answer_type")}
        pairs.append((said, _asked(number, answers=votes, **types)))
        board.add(*pairs[-1])
    theirs = official(pairs)
    ours = board.snapshot().figures
    yield Figures(
        aggregate="by",
        oracle="GT-Vision-Lab/VQA vqaEval.py, by type",
        rows=_ROWS,
        pairs=[
            (ours[f"{part} {name}"].value, value)
            for part, means in (
                ("question_type", theirs["perQuestionType"]),
                ("answer_type", theirs["perAnswerType"]),
            )
            for name, value in sorted(means.items())
        ],
    )


def points(oracles: Oracles) -> Iterator[Figures]:
    """OCRBench's final score by lmms-eval, which is a thousandth of the points."""
    utils = oracles.module("lmms_eval.tasks.ocrbench.utils")
    utils.generate_submission_file = lambda *_names, **_settings: os.devnull
    drawn, board = random.Random(0), Scoreboard(metric("ocrbench-contains+points"))
    types, rows = [*utils.OCRBench_score], []
    for number in range(_ROWS):
        right = drawn.random() < 0.6
        rows.append({"question_type": drawn.choice(types), "score": int(right)})
        board.add("word" if right else "other", _asked(number, answers=("word",)))
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = 1000 * utils.ocrbench_aggregate_accuracy(rows, None)
    yield Figures(
        aggregate="points",
        oracle="lmms-eval ocrbench_aggregate_accuracy",
        rows=_ROWS,
        pairs=[(board.snapshot().figures["points"].value, theirs)],
    )


def letters(_oracles: Oracles) -> Iterator[Figures]:
    """Shares of letters and what constants score, restated: no harness prints them."""
    drawn, board, longest = random.Random(0), Scoreboard(metric("choice")), 0.0
    right, said = Counter[str](), Counter[str]()
    for number in range(_ROWS):
        choices = chosen(drawn)[1].choices
        truth, given = (drawn.randrange(len(choices)) for _ in range(2))
        right["ABCDE"[truth]] += 1
        said["ABCDE"[given]] += 1
        most = max(map(len, choices))
        best = [place for place, text in enumerate(choices) if len(text) == most]
        longest += (truth in best) / len(best)
        board.add("ABCDE"[given], _asked(number, choices=choices, right=truth))
    ours = board.snapshot().figures
    always, times = right.most_common(1)[0]
    theirs = {f"right {one}": float(right[one]) for one in right}
    theirs |= {f"given {one}": float(said[one]) for one in said}
    theirs |= {f"baseline: always {always}": times, "baseline: longest choice": longest}
    yield Figures(
        aggregate="letters",
        oracle="restated from docs/metrics.md",
        rows=_ROWS,
        pairs=[(ours[name].value, 100 * value / _ROWS) for name, value in theirs.items()],
    )


def _asked(number: int | str, **facts: Any) -> Question:
    return Question(question_id=number, image=b"", text="", **facts)
