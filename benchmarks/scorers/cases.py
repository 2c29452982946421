"""Every scorer with its oracles."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

from attrs import field, frozen
from benchmarks.scorers import restated
from benchmarks.scorers.oracles import Oracles
from benchmarks.scorers.pairs import (
    Pair,
    chosen,
    few,
    formula_or_text,
    listed,
    long_open,
    meant,
    mixed,
    number,
    one_answer,
    ten,
    yes_no,
    yes_no_digit,
)

from vqa_engine.adapter import Question
from vqa_engine.scoring import metric

Score = Callable[[str, Question], float]


@frozen(kw_only=True)
class Case:
    """One scorer against one oracle; `intended` is why some pairs may differ."""

    scorer: str
    oracle: str
    theirs: Score
    pairs: Callable[[random.Random], Pair]
    ours: Score | None = None
    intended: str = ""


@frozen
class Outcome:
    """What came of a case."""

    compared: int
    different: list[tuple[str, object, float, float]] = field(factory=list)


def by_metric(name: str) -> Score:
    """The value that a metric gives."""
    grade = metric(name).grade
    return lambda said, question: grade(said, question).value


def cases(oracles: Oracles) -> Iterator[Case]:
    """Every scorer with its oracles, as far as they can be reached."""
    yield from string_cases(oracles)
    yield from yes_no_cases(oracles)
    yield from choice_cases(oracles)
    yield from restated_cases(oracles)


def string_cases(oracles: Oracles) -> Iterator[Case]:
    okvqa = oracles.module("lmms_eval.tasks.ok_vqa.utils").ok_vqa_process_results
    yield Case(
        scorer="soft-accuracy-evalai",
        oracle="lmms-eval ok_vqa",
        theirs=lambda said, one: okvqa({"answers": [*one.answers], "question_id": 1}, [said])[
            "exact_match"
        ],
        pairs=ten,
    )
    vqav2 = oracles.module("lmms_eval.tasks.vqav2.utils").vqav2_process_results
    yield Case(
        scorer="vqa-v2-normalised",
        oracle="lmms-eval vqav2 (ids kept apart)",
        theirs=lambda said, one: vqav2(
            {"answers": [{"answer": a, "id": n} for n, a in enumerate(one.answers)],
             "question_id": 1}, [said])["exact_match"],
        pairs=ten,
    )  # fmt: skip
    official = restated.official_vqa(oracles)
    if official is not None:
        yield Case(
            scorer="vqa-v2-official",
            oracle="GT-Vision-Lab/VQA vqaEval.py",
            theirs=lambda said, one: official([(said, one)])["overall"] / 100,
            pairs=ten,
        )
    anls = oracles.module("anls").anls_score
    yield Case(
        scorer="anls",
        oracle="anls 0.0.2",
        theirs=lambda said, one: anls(prediction=said, gold_labels=[*one.answers], threshold=0.5),
        pairs=few,
    )
    lmms = oracles.module("lmms_eval.api.metrics").anls
    yield Case(
        scorer="anls-inclusive",
        oracle="lmms-eval anls",
        theirs=lambda said, one: lmms([*one.answers], [said])["anls"],
        pairs=few,
        intended="it divides by the lengths before folding spaces",
    )
    yield Case(
        scorer="anls-inclusive",
        oracle="lmms-eval anls, spaces folded before",
        theirs=lambda said, one: lmms([" ".join(a.split()) for a in one.answers],
                                      [" ".join(said.split())])["anls"],
        pairs=few,
    )  # fmt: skip
    relaxed = oracles.module("lmms_eval.tasks.chartqa.utils").relaxed_correctness
    yield Case(
        scorer="chartqa-relaxed",
        oracle="lmms-eval chartqa (pix2struct)",
        theirs=lambda said, one: relaxed(said, one.answers[0]),
        pairs=one_answer,
    )
    yield Case(
        scorer="chartqa-relaxed-years-exact",
        oracle="lmms-eval chartqa (pix2struct)",
        theirs=lambda said, one: relaxed(said, one.answers[0]),
        pairs=one_answer,
        intended="years are met exactly",
    )
    yield Case(
        scorer="exact-folded",
        oracle="str.rstrip('.').lower() (LLaVA, GQA)",
        theirs=lambda said, one: said.rstrip(".").lower() == one.answers[0].rstrip(".").lower(),
        pairs=one_answer,
        intended="spaces at the ends are stripped, one full stop only",
    )
    yield Case(
        scorer="exact-raw",
        oracle="== (GQA eval.py)",
        theirs=lambda said, one: said == one.answers[0],
        pairs=one_answer,
    )
    ocr = oracles.module("lmms_eval.tasks.ocrbench.utils").ocrbench_process_results
    yield Case(
        scorer="ocrbench-contains",
        oracle="lmms-eval ocrbench",
        theirs=lambda said, one: ocr(
            {"answer": [*one.answers], "dataset": one.labels["dataset"], "question_type": ""},
            [said])["ocrbench_accuracy"]["score"],
        pairs=formula_or_text,
    )  # fmt: skip
    aokvqa = oracles.script("aokvqa", "evaluation/eval_predictions.py")
    if aokvqa is not None:
        yield Case(
            scorer="aokvqa-direct",
            oracle="allenai/aokvqa eval_predictions",
            theirs=lambda said, one: aokvqa.eval_aokvqa(
                {1: {"difficult_direct_answer": False, "choices": [],
                     "direct_answers": one.answers}}, {1: said}) / 100,
            pairs=ten,
        )  # fmt: skip


def yes_no_cases(oracles: Oracles) -> Iterator[Case]:
    yield Case(
        scorer="yes-no-pope",
        oracle="AoiDragon/POPE evaluate.py",
        theirs=pope_of(oracles),
        pairs=yes_no,
    )
    mme = oracles.module("lmms_eval.tasks.mme.utils").parse_pred_ans
    yield Case(
        scorer="mme",
        oracle="lmms-eval mme",
        theirs=lambda said, one: mme(said) == one.answers[0],
        pairs=yes_no,
        intended="it also strips, deletes full stops and takes y and n",
    )
    evalai = oracles.module("lmms_eval.tasks._task_utils.vqa_eval_metric").EvalAIAnswerProcessor
    smp: Any = sys.modules["vlmeval.smp"]
    smp.process_punctuation = evalai().process_punctuation
    words = oracles.module("vlmeval.dataset.utils.yorn").YOrN_Extraction
    yield Case(
        scorer="yes-no-words",
        oracle="VLMEvalKit YOrN_Extraction",
        theirs=lambda said, one: words(said).lower() == one.answers[0],
        pairs=yes_no,
        intended="it joins words at marks that have a space on one side",
    )
    yield Case(
        scorer="hallusion",
        oracle="VLMEvalKit YOrN_Extraction",
        theirs=lambda said, one: {"Yes": "1", "No": "0"}.get(words(said)) == one.answers[0],
        pairs=yes_no_digit,
        intended="it joins words at marks that have a space on one side",
    )


def choice_cases(oracles: Oracles) -> Iterator[Case]:
    for scorer in ("choice", "circular", "mmmu-strict", "mathvista-rules"):
        yield Case(scorer=scorer, oracle="answers made to mean a letter", theirs=made, pairs=meant)
    lmms = oracles.module("lmms_eval.tasks._task_utils.mcq_extract").extract_mcq_answer
    kit = oracles.module("vlmeval.utils.matching_util").can_infer
    yield Case(
        scorer="choice",
        oracle="lmms-eval extract_mcq_answer",
        theirs=lambda said, one: (
            lmms(said, [*"ABCDE"[: len(one.choices)]]) == "ABCDE"[one.right or 0]
        ),
        pairs=chosen,
        intended="it takes articles for letters, reads no texts, and guesses among several",
    )
    yield Case(
        scorer="choice",
        oracle="VLMEvalKit can_infer",
        theirs=lambda said, one: (
            kit(said, dict(zip("ABCDE", one.choices, strict=False))) == "ABCDE"[one.right or 0]
        ),
        pairs=chosen,
        intended="capital letters in the last five words only, texts anywhere as parts of words",
    )
    official = oracles.script("mmmu", "mmmu/utils/eval_utils.py")
    if official is not None:
        yield Case(
            scorer="mmmu-official",
            oracle="MMMU eval_utils, choice, 1/k for a guess",
            theirs=lambda said, one: mmmu_choice(official, said, one),
            pairs=chosen,
        )
        yield Case(
            scorer="mmmu-official",
            oracle="MMMU eval_utils, open",
            theirs=lambda said, one: official.eval_open(
                [*one.answers], official.parse_open_response(said)),
            pairs=long_open,
        )  # fmt: skip
        yield Case(
            scorer="mmmu-strict",
            oracle="MMMU eval_utils, choice, nothing for a guess",
            theirs=lambda said, one: mmmu_choice(official, said, one) == 1,
            pairs=chosen,
            intended="its letters are read by MMMU's parser, not by the letter rule",
        )
        yield Case(
            scorer="mmmu-strict",
            oracle="MMMU eval_utils, open",
            theirs=lambda said, one: official.eval_open(
                [*one.answers], official.parse_open_response(said)),
            pairs=long_open,
        )  # fmt: skip
    mathvista = oracles.script("mathvista", "evaluation/calculate_score.py")
    if mathvista is not None:
        yield Case(
            scorer="mathvista-rules",
            oracle="MathVista calculate_score, bare numbers",
            theirs=lambda said, one: mathvista.safe_equal(
                mathvista.normalize_extracted_answer(
                    said, None, "free_form", one.answer_type, one.labels["precision"]
                ),
                one.answers[0],
            ),
            pairs=number,
        )
        yield Case(
            scorer="mathvista-rules",
            oracle="MathVista calculate_score, lists",
            theirs=lambda said, one: mathvista.safe_equal(
                mathvista.normalize_extracted_answer(said, None, "free_form", "list", None),
                one.answers[0],
            ),
            pairs=listed,
        )


def restated_cases(oracles: Oracles) -> Iterator[Case]:
    """Rules that nobody else has, restated from docs/metrics.md."""
    yield Case(scorer="exact-folded", oracle="restated", theirs=restated.folded, pairs=one_answer)
    exact = restated.exact(oracles)
    if exact is None:
        return
    yield Case(
        scorer="exact", oracle="restated on vqaEval.py's normaliser", theirs=exact, pairs=few
    )
    votes = oracles.module("lmms_eval.tasks.vqav2.utils").vqav2_process_results

    def by_kind(said: str, one: Question) -> float:
        if one.choices:
            return made(said, one)
        if len(one.answers) < 10:
            return float(exact(said, one))
        answers = [{"answer": a, "id": n} for n, a in enumerate(one.answers)]
        return float(votes({"answers": answers, "question_id": 1}, [said])["exact_match"])

    yield Case(
        scorer="by-question", oracle="the three oracles above, by kind", theirs=by_kind, pairs=mixed
    )


def made(said: str, question: Question) -> float:
    """Whether the letter that an answer was made to mean is the right one."""
    return float(question.labels["meant"] == "ABCDE"[question.right or 0])


def mmmu_choice(official: Any, said: str, question: Question) -> float:
    """The official score, with the expectation in place of a guess."""
    letters = [*"ABCDE"[: len(question.choices)]]
    guessed: list[bool] = []

    def first(options: list[str]) -> str:
        guessed.append(True)
        return options[0]

    official.random.choice = first
    found = official.parse_multi_choice_response(
        said, letters, dict(zip(letters, question.choices, strict=True))
    )
    return 1 / len(letters) if guessed else float(found == letters[question.right or 0])


def pope_of(oracles: Oracles) -> Score:
    """The official script run on one answer; without it, its rule as the facts page has it."""
    text = oracles.text("pope", "evaluate.py")
    if text is None:
        sys.exit("POPE's evaluate.py cannot be reached; give --source")
    loop = text[
        text.index("for answer in answers:") : text.index("for i in range(len(label_list))")
    ]
    code = compile(loop, "evaluate.py", "exec")

    def score(said: str, question: Question) -> float:
        answers = [{"answer": said}]
        exec(code, {"answers": answers})
        return float(answers[0]["answer"] == question.answers[0])

    return score
