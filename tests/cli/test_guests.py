"""Metrics, figures, formats, submissions and places of other packages, as hostile as can be."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.builders import a_distribution, a_question, png
from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError, QuestionSetError, ScoringError
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.questions import load_questions
from vqa_engine.questions.ordering import in_groups
from vqa_engine.questions.question_set import Scored
from vqa_engine.runs import apart
from vqa_engine.scoring import Scoreboard, metric
from vqa_engine.scoring.comparison import compare
from vqa_engine.scoring.metric import together
from vqa_engine.worker import plugin as process
from vqa_engine_cli.main import cli

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nobody_left")]

HEALTHY = """
from tests.builders import questions
from vqa_engine.questions.given import GivenQuestions
from vqa_engine.runs.submission import Submission
from vqa_engine.scoring import Grade
from vqa_engine.scoring.aggregate import Points as Figures
from vqa_engine.scoring.metric import StringRule

def Graded(): return StringRule(name="hostile", score=score)
def score(said, truths): return 1.0
class Asked(GivenQuestions):
    def __init__(self, source): super().__init__(questions(3))
def File(): return Submission(server="s", counts=(), encode=encode)
def encode(answered): return iter([b"[]"])
class Places:
    def __init__(self, address): pass
    def open(self): return ()
    def close(self): pass
"""
OFFERED = {
    plugins.METRICS: "Graded",
    plugins.AGGREGATES: "Figures",
    plugins.QUESTION_SETS: "Asked",
    plugins.SUBMISSIONS: "File",
    plugins.PLACES: "Places",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on the path, and a working folder with questions beside it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(process, "LONGEST", 4.0)
    monkeypatch.setattr(process, "WHOLE", 4.0)
    Path("a.png").write_bytes(png())
    Path("set.jsonl").write_text(
        '{"question_id": 1, "image": "a.png", "question": "Is it red?", "answers": ["yes"]}\n'
    )
    a_distribution(tmp_path / "site", "oracle", {"oracle": "tests.fakes:Oracle"})
    yield tmp_path / "site"
    process.end_all()


def offer(site: Path, group: str, source: str) -> None:
    """A package whose module is what is healthy, changed by some source."""
    entry, modules = {"hostile": f"h_mod:{OFFERED[group]}"}, {"h_mod": f"{HEALTHY}\n{source}"}
    a_distribution(site, "pkg", entry, modules=modules, group=group)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments], catch_exceptions=False)


IMPORTS = {
    "quits": "import os; os._exit(7)",
    "sleeps": "import time; time.sleep(600)",
    "raises": "class Odd(BaseException): pass\nraise Odd('no')",
    "closes": "import os; os.closerange(0, 1 << 20)",
    "kills": "import os, signal; os.kill(os.getppid(), signal.SIGCONT); os.abort()",
}
"""What an import does, in place of ending."""

ASKED = ("-a", "oracle", "--questions")
COMMANDS = {
    plugins.METRICS: (*ASKED, "set.jsonl", "--metric", "hostile"),
    plugins.AGGREGATES: (*ASKED, "set.jsonl", "--metric", "exact+hostile"),
    plugins.QUESTION_SETS: (*ASKED, "hostile"),
    plugins.PLACES: (*ASKED, "set.jsonl", "--place", "hostile://"),
}
"""What asks for the plugin of a group."""


@pytest.mark.parametrize(
    ("group", "kind"),
    [(group, "quits") for group in COMMANDS]
    + [(plugins.METRICS, "sleeps"), (plugins.PLACES, "sleeps")],
)
def test_an_import_costs_the_command_that_asks_for_it_one_sentence(
    site: Path, monkeypatch: pytest.MonkeyPatch, group: str, kind: str
) -> None:
    probing = import_module("vqa_engine.plugins.probe.report")  # not the function of that name
    monkeypatch.setattr(probing, "LONGEST", 3.0)
    offer(site, group, IMPORTS[kind])
    done = invoke("run", *COMMANDS[group])
    assert done.exit_code == 1, done.output
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "'hostile' of pkg 1.0" in error
    assert "Traceback" not in done.output
    assert "bug" not in error


@pytest.mark.parametrize("kind", ["raises", "closes", "kills"])
def test_an_import_is_one_error(site: Path, kind: str) -> None:
    offer(site, plugins.METRICS, IMPORTS[kind])
    with pytest.raises(ConfigurationError, match=r"'hostile' of pkg 1\.0"):
        metric("hostile")


GRADES = {
    "hangs": "import time; time.sleep(600)",
    "quits": "import os; os._exit(7)",
    "raises": "class Odd(BaseException): pass\n  raise Odd('no')",
    "text": "return 'right'",
    "nan": "return float('nan')",
    "beyond": "return 7.0",
    "closes": "import os; os.closerange(0, 1 << 20); return 1.0",
    "exits": "raise SystemExit(3)",
    "speechless": "class Mute(Exception): __str__ = lambda self: 1 / 0\n  raise Mute",
}


@pytest.mark.parametrize("kind", GRADES)
def test_a_grade_costs_its_own_column(site: Path, kind: str) -> None:
    body = f"def score(said, truths):\n if said == 'no':\n  {GRADES[kind]}\n return 1.0"
    offer(site, plugins.METRICS, body)
    boards = [Scoreboard(metric(name)) for name in ("hostile", "exact")]
    asked = [a_question(number) for number in range(3)]
    for question in asked:
        for board in boards:
            board.add("no" if question.question_id == 1 else "yes", question)
    hostile, exact = (board.snapshot() for board in boards)
    assert hostile.failure.startswith("question 1: ")
    assert "PluginError" not in hostile.failure
    assert (exact.failure, exact.overall.count) == ("", 3)


@pytest.mark.parametrize(
    "source",
    [
        "import os, time\ndef score(said, truths):\n print(said)\n"
        " if not os.fork(): time.sleep(600)\n return 1.0",
        "import os\ndef score(said, truths):\n os.fork(); return 1.0",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()",
    ],
)
def test_what_prints_forks_and_starts_threads_scores(site: Path, source: str) -> None:
    offer(site, plugins.METRICS, source)
    board = Scoreboard(metric("hostile"))
    for question in together(asked := [a_question(n) for n in range(3)], [board.metric], _yes):
        board.add("yes", question)
    table = board.snapshot()
    assert (table.failure, table.overall.count) == ("", len(asked))


def _yes(question: Question) -> tuple[str, Question]:
    return "yes", question


@pytest.mark.parametrize(
    "source",
    [
        "class Figures(Figures):\n def add(self, *a): 1 / 0",
        "class Figures(Figures):\n def cluster(self, question): import os; os._exit(1)",
        "class Figures(Figures):\n def counts(self, tally): return {'points': 'many'}",
        "class Figures(Figures):\n def figures(self, counts): return {1: None}",
        "class Figures(Figures):\n def figures(self, counts): import time; time.sleep(600)",
    ],
)
def test_figures_cost_their_own_column(site: Path, source: str) -> None:
    offer(site, plugins.AGGREGATES, source)
    boards = [Scoreboard(metric(name)) for name in ("exact+hostile", "exact")]
    for board in boards:
        board.add("yes", a_question())
    hostile, exact = (board.snapshot() for board in boards)
    assert hostile.failure
    assert not exact.failure


def test_figures_that_die_while_two_are_compared_are_one_error(site: Path) -> None:
    offer(site, plugins.AGGREGATES, "class Figures(Figures):\n def add(self, *a): 1 / 0")
    answers = [(a_question(), "yes")]
    with pytest.raises(ScoringError, match="'exact' failed: ZeroDivisionError"):
        compare(("a", answers), ("b", answers), metric("exact+hostile"))


def test_what_cannot_cross_costs_its_own_column(site: Path) -> None:
    offer(site, plugins.METRICS, "")
    board = Scoreboard(metric("hostile"))
    asked = [a_question(2**70)]
    for question in together(asked, [board.metric], _yes):
        board.add("yes", question)
    assert "it cannot be asked" in board.snapshot().failure


SETS = {
    "for ever": "def at(self, places):\n  while True: yield questions(1)[0]",
    "too few": "at = lambda self, places: iter(())",
    "strings": "at = lambda self, places: iter(['a', 'b', 'c'])",
    "numbers": "at = lambda self, places: (evolve(one, text=1) for one in questions(3))",
    "hangs": "def at(self, places): import time; time.sleep(600)",
    "quits": "def at(self, places): import os; os._exit(1)",
    "keys": "image_keys = lambda self: [1]",
    "digest": "digest = lambda self: 5",
    "raises": "def at(self, places): raise SystemExit('no')",
    "boundless": "__len__ = lambda self: 10**15",
    "negative": "__len__ = lambda self: -1",
    "nameless": "name = None",
}


@pytest.mark.parametrize("kind", SETS)
def test_a_set_is_one_error(site: Path, kind: str) -> None:
    source = f"from attrs import evolve\nclass Asked(Asked):\n {SETS[kind]}"
    offer(site, plugins.QUESTION_SETS, source)
    with pytest.raises((ConfigurationError, QuestionSetError), match=r"'hostile' of pkg 1\.0"):
        asked_for("hostile")


def asked_for(name: str) -> None:
    """What a run asks of a set."""
    asked = load_questions(name)
    asked.digest()
    list(in_groups(asked))


def test_a_set_costs_its_run_one_sentence(site: Path) -> None:
    offer(site, plugins.QUESTION_SETS, f"class Asked(Asked):\n {SETS['quits']}")
    done = invoke("run", *COMMANDS[plugins.QUESTION_SETS], "-o", "one")
    assert done.exit_code == 1, done.output
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "'hostile' of pkg 1.0" in error
    assert "bug" not in error


def test_a_set_goes_on_from_any_question_and_has_its_pictures(site: Path) -> None:
    source = """
from PIL import Image
from attrs import evolve
class Asked(Asked):
    metrics = ("exact",)
    def at(self, places):
        images = [b"abc", Image.new("RGB", (3, 2), "red"), b""]
        return (evolve(question, image=images[place], text="\\ud800") for place in places
                for question in questions(3)[place:place + 1])
"""
    offer(site, plugins.QUESTION_SETS, source)
    asked = load_questions("hostile")
    first, second = asked.at([1, 0])
    assert getattr(first.image, "size", None) == (3, 2)
    assert (second.image, second.text) == (b"abc", "\\ud800")
    assert isinstance(asked, Scored)
    assert asked.metrics == ("exact",)


def test_a_submission_costs_its_command_one_sentence(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("run", *ASKED, "set.jsonl", "-o", "one")
    source = "def encode(answered):\n while True: yield b' ' * 1000"
    monkeypatch.setattr(apart, "_LARGEST", 1 << 21)
    offer(site, plugins.SUBMISSIONS, source)
    done = invoke("export", "one", "--submission", "hostile", "-o", "out")
    assert done.exit_code == 1
    assert "more than 2,097,152 bytes" in done.stderr
    assert not Path("out").exists()


def test_a_run_goes_on_when_its_metric_dies(site: Path) -> None:
    offer(site, plugins.METRICS, "def score(said, truths): import os; os._exit(7)")
    done = invoke("run", *COMMANDS[plugins.METRICS], "--metric", "exact", "-o", "one")
    assert done.exit_code == 0, done.output
    assert "exit code 7" in done.output
    again = invoke("score", "one", "--metric", "hostile", "--metric", "exact")
    assert again.exit_code == 0, again.output
    assert "exit code 7" in again.output


def test_a_closed_set_is_an_error_of_ours(site: Path) -> None:
    offer(site, plugins.QUESTION_SETS, "")
    asked = load_questions("hostile")
    going = iter(asked)
    next(going)
    process.end_all()
    with pytest.raises(QuestionSetError, match="its process was ended"):
        list(asked)
