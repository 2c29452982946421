"""No command runs a plugin's code in the host, and none is harmed by it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.builders import a_distribution, png
from tests.questions.tasks.test_cards import card
from vqa_engine import failures
from vqa_engine.memory import backends
from vqa_engine.plugins import entry_points as plugins
from vqa_engine.plugins.entry_points import MEMORY_BACKENDS
from vqa_engine.runs import provenance
from vqa_engine.worker import apart
from vqa_engine_cli.main import cli

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nobody_left")]

SPY = """
import os, pathlib
with pathlib.Path({file!r}).open("a") as file: file.write(f"{{os.getpid()}}\\n")
"""
ADAPTER = """
from tests.fakes import Scoring
class Spy(Scoring):
    default_model = "a/model"
    images_per_question = 2
    def fetch(self, model, report): pass
"""
BACKEND = """
from vqa_engine.memory.backend import Library, MemoryBackend
class Spied(MemoryBackend):
    name = "spied"
    library = Library(module="no_such_library", requirement="spied")
"""

SCORER = """
from vqa_engine.questions.forms import json_lines
from vqa_engine.runs.submission import Submission
from vqa_engine.scoring.aggregate import Points
from vqa_engine.scoring.metric import StringRule
def rule():
    return StringRule(name="spied", score=lambda said, truths: 1.0)
def lines(source):
    return json_lines(source)
def file():
    return Submission(server="a server", counts=(), encode=lambda answered: iter([b"[]"]))
"""
SPIED = {
    plugins.METRICS: {"spied": "s_mod:rule"},
    plugins.AGGREGATES: {"spies": "s_mod:Points"},
    plugins.QUESTION_SETS: {".spied": "s_mod:lines"},
    plugins.SUBMISSIONS: {"spied": "s_mod:file"},
    plugins.TASKS: {"pets": "s_cards"},
}
"""What the spying package offers beside an adapter and a memory backend."""

ASKED = ("--questions", "set.spied", "--metric", "spied+spies")

COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("-a", "spy", *ASKED, "--choose", "likelihood", "-o", "one"),
    "ask": ("-a", "spy", "a.png", "Is it red?"),
    "serve": ("-a", "spy", "-a", "other=spy", "--port", "0"),
    "pull": ("spy",),
    "parity": ("spy", "again=spy", *ASKED[:2]),
    "fit": ("-a", "spy"),
    "adapters": ("spy",),
    "check": ("spy",),
    "doctor": (),
    "selftest": ("-a", "spy"),
    "new-adapter": ("colour-average",),
    "score": ("one",),
    "compare": ("one", "one"),
    "tasks": (),
    "tasks show": ("pets", "-a", "spy"),
    "tasks pin": ("pets.toml", "-o", "pinned.toml"),
    "export": ("one", "-o", "out.jsonl", "--submission", "spied"),
    "memory": ("one",),
    "show": ("one",),
    "report": ("one",),
    "view": ("one", "--port", "0"),
    "runs": (".",),
    "status": ("one",),
    "help": ("run",),
    "docs": (),
}
"""What each command is given, in the order they run."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path for adapters, and a working folder with questions beside it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path / "work")
    Path("a.png").write_bytes(png())
    line = '{"question_id": 1, "image": "a.png", "question": "?", "answers": ["A"], '
    for name in ("set.jsonl", "set.spied"):
        Path(name).write_text(f'{line}"images": ["a.png"], "choices": ["A", "B"]}}\n')
    _forget()
    yield tmp_path / "site"
    _forget()


def _forget() -> None:
    for cached in (backends.libraries, backends.load, failures._patterns, provenance.default_model):
        cached.cache_clear()


def leaves(group: click.Group, prefix: str = "") -> Iterator[str]:
    """The names of all commands, groups that run by themselves included."""
    for name, command in group.commands.items():
        yield f"{prefix}{name}"
        if isinstance(command, click.Group):
            yield from leaves(command, f"{prefix}{name} ")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments], catch_exceptions=False)


def test_no_command_imports_a_plugin_in_the_host(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setattr(uvicorn.Server, "run", lambda _self, **_sockets: None)
    cache = site / "hub" / "models--a--model" / "snapshots"
    cache.mkdir(parents=True)  # so that a manifest asks for the default model
    monkeypatch.setenv("HF_HUB_CACHE", str(site / "hub"))
    pids = site / "pids"
    spy = SPY.format(file=str(pids))
    a_distribution(site, "spy", {"spy": "spy_mod:Spy"}, modules={"spy_mod": spy + ADAPTER})
    a_distribution(
        site, "spied", {"spied": "b_mod:Spied"}, modules={"b_mod": spy + BACKEND},
        group=MEMORY_BACKENDS,
    )  # fmt: skip
    for number, (group, offered) in enumerate(SPIED.items()):
        modules = {"s_mod": spy + SCORER}
        a_distribution(site, f"scorer{number}", offered, modules=modules, group=group)
    (site / "s_cards").mkdir()
    (site / "s_cards" / "__init__.py").write_text(spy)
    for folder in (Path.cwd(), site / "s_cards"):
        card(folder)
    assert set(leaves(cli)) == set(COMMANDS)
    for name, arguments in COMMANDS.items():
        done = invoke(*name.split(), *arguments)
        assert "which is a bug" not in done.stderr, name
        assert done.exit_code in {0, 1, 3}, (name, done.output)
        assert str(os.getpid()) not in pids.read_text().split(), name
        wrong = [line for line in done.stderr.splitlines() if "spied" in line or "spies" in line]
        assert not [line for line in wrong if "cannot" in line or "failed" in line], name
    assert not {"spy_mod", "b_mod", "s_mod", "s_cards"} & sys.modules.keys()
    assert Path("out.jsonl").read_bytes() == b"[]"


HOSTILE = {
    "quits": "import os; os._exit(7)",
    "hangs": "import time; time.sleep(600)",
    "raises": "class Odd(BaseException): pass\nraise Odd",
    "mute": "class Hostile(Hostile):\n    memory_profile = facts_of = profile_of = options = "
    "property(lambda self: 1 / 0)",
    "printing": "print('{}'); import sys; sys.stdout.close()\nclass Hostile(Hostile):\n"
    "    default_model = model_types = b'model'\n    images_per_question = 'two'",
}
ASKED_HOSTILE = ("--questions", "set.jsonl")
TOUCHING = {
    "run": ("-a", "hostile", *ASKED_HOSTILE, "--load-timeout", "4"),
    "ask": ("-a", "hostile", "a.png", "?", "--load-timeout", "4"),
    "serve": ("-a", "hostile", "--port", "0"),
    "pull": ("hostile@a/b",),
    "parity": ("hostile", "again=hostile", *ASKED_HOSTILE, "--load-timeout", "4"),
    "fit": ("-a", "hostile"),
    "adapters": ("hostile",),
    "tasks show": ("pets.toml", "-a", "hostile"),
}


@pytest.mark.parametrize(
    ("command", "kind"),
    [(command, "quits") for command in TOUCHING]
    + [("adapters", kind) for kind in HOSTILE if kind != "quits"]
    + [("fit", "hangs"), ("fit", "mute"), ("serve", "printing"), ("run", "printing")],
)
def test_a_hostile_adapter_costs_one_sentence(
    site: Path, monkeypatch: pytest.MonkeyPatch, command: str, kind: str
) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setattr(uvicorn.Server, "run", lambda _self, **_sockets: None)
    monkeypatch.setattr(apart, "LONGEST", 4.0)
    monkeypatch.setattr(apart, "_STALLED", 4.0)
    card(Path.cwd())
    source = f"from tests.fakes import Instant as Hostile\n{HOSTILE[kind]}\n"
    a_distribution(site, "h", {"hostile": "h_mod:Hostile"}, modules={"h_mod": source})
    done = invoke(*command.split(), *TOUCHING[command])
    assert done.exit_code == 1 or (done.exit_code == 0 and kind == "printing"), done.output
    assert "which is a bug" not in done.stderr
    assert "Traceback" not in done.output
    if done.exit_code:
        (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert "hostile" in error
