"""The command line as a person runs it: real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import a_distribution, png

MODULES = {
    "quick_mod": """
        from tests.fakes import Instant, Raising, Unreachable
    """,
    "slow_mod": """
        import time
        from tests.fakes import Instant
        class Slow(Instant):
            def answer(self, question, plan):
                time.sleep(0.05)
                return super().answer(question, plan)
    """,
    "broken_mod": """
        from tests.fakes import Instant
        class Broken(Instant):
            def answer(self, question, plan):
                raise ValueError("out of order")
    """,
    "noting_mod": """
        import logging
        from tests.fakes import Instant
        log = logging.getLogger(__name__)
        class Noting(Instant):
            def load(self, model):
                log.warning("loaded %s", "slowly")
            def answer(self, question, plan):
                log.info("thinking about %d", question.question_id)
                logging.getLogger("strange").warning("nothing to do with us")
                return super().answer(question, plan)
    """,
}
ENTRY_POINTS = {
    "instant": "quick_mod:Instant",
    "raising": "quick_mod:Raising",
    "unreachable": "quick_mod:Unreachable",
    "slow": "slow_mod:Slow",
    "broken": "broken_mod:Broken",
    "noting": "noting_mod:Noting",
}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    a_distribution(folder, "quick", ENTRY_POINTS, modules=MODULES)
    return folder


@pytest.fixture
def shell(site: Path, tmp_path: Path) -> Shell:
    return Shell(site, tmp_path)


class Shell:
    """Runs `vqa-engine` in a folder of its own."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.folder = folder
        path = filter(None, (str(site), str(ROOT), os.environ.get("PYTHONPATH")))
        self.environment = {**os.environ, "PYTHONPATH": ":".join(path), "COLUMNS": "100"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "vqa_engine_cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, out + err
        return out, err

    def jsonl(self, count: int) -> str:
        (self.folder / "a.png").write_bytes(png())
        line = {"image": "a.png", "question": "Is it red?", "answers": ["yes"] * 10}
        lines = [json.dumps({**line, "question_id": number}) for number in range(count)]
        (self.folder / "set.jsonl").write_text("\n".join(lines))
        return "set.jsonl"


def test_help_imports_neither_the_engine_nor_a_model_library() -> None:
    code = (
        "import sys\nfrom vqa_engine_cli.main import cli\n"
        "try: cli(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'vqa_engine', 'mlx', 'torch', 'transformers', 'rich', 'PIL', 'stevedore'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.slow
def test_a_run_prints_its_scores_and_where_it_is(shell: Shell) -> None:
    out, err = shell("-a", "instant", "--questions", shell.jsonl(20), "-o", "here")
    assert "100.00" in out
    assert "Run directory: here" in out
    assert "instant: 20/20" in err


@pytest.mark.slow
def test_the_same_command_finds_its_run_again(shell: Shell) -> None:
    command = ("-a", "instant", "--questions", shell.jsonl(4))
    shell(*command)
    out, err = shell(*command)
    assert "all 4 questions were answered before" in err
    assert "100.00" in out
    assert len(list((shell.folder / "runs").iterdir())) == 1


@pytest.mark.slow
def test_json_is_one_object_and_with_verbose_one_line_an_answer(shell: Shell) -> None:
    out, _ = shell("-a", "instant", "--questions", shell.jsonl(3), "--json", "--verbose")
    *answers, result = [json.loads(line) for line in out.splitlines()]
    assert [line["question_id"] for line in answers if line["event"] == "answer"] == [0, 1, 2]
    assert result["scores"]["instant"][0]["overall"]["percent"] == 100.0


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_what_an_adapter_logs_is_told_once(shell: Shell, isolation: str) -> None:
    command = ("-a", "noting", "--questions", shell.jsonl(2), "--isolation", isolation, "--fresh")
    _, err = shell(*command)
    assert err.count("loaded slowly") == err.count("noting: warning: loaded slowly") == 1
    assert "thinking" not in err
    _, err = shell(*command, "--verbose")
    assert err.count("loaded slowly") == err.count("noting: warning: loaded slowly") == 1
    assert err.count("thinking about 1") == err.count("noting: thinking about 1") == 1
    assert ("nothing to do with us" in err) == (isolation == "inline")


@pytest.mark.slow
def test_error_rows_give_exit_code_3(shell: Shell) -> None:
    out, err = shell("-a", "raising", "--questions", shell.jsonl(4), code=3)
    assert "2 of 4 questions have no answer (python: 2); run the same command to ask them" in out
    assert "raising: question 3: ValueError: odd questions are beyond me" in err
    assert err.count("raise ValueError") == 1  # the same lines of code are shown once


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_reached_is_one_sentence(shell: Shell) -> None:
    out, err = shell("-a", "unreachable", "--questions", shell.jsonl(1), code=1)
    assert out == ""
    assert "Error: The model 'nowhere/model' cannot be loaded (tried cache, then hub)" in err
    assert err.count("nowhere/model") == 1
    assert "Traceback" not in err


@pytest.mark.slow
def test_verbose_tells_each_answer(shell: Shell) -> None:
    _, err = shell("-a", "instant", "--questions", shell.jsonl(2), "-v")
    assert "instant: 1: Is it red? → yes  (truth: yes)" in err


@pytest.mark.slow
def test_options_stand_in_a_toml_file_and_the_command_line_wins(shell: Shell) -> None:
    shell.jsonl(9)
    (shell.folder / "c.toml").write_text(
        'questions = "set.jsonl"\nadapter = ["instant"]\n[run]\nlimit = 5\noutput = "there"\n'
    )
    shell("--config", "c.toml", "--limit", "3")
    out, _ = shell("export", "there")
    assert len(out.splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limt = 3", "Did you mean 'limit'"),
        ("limit = ", "not valid TOML"),
        ("limit = 0", "limit"),
        ("run = 5", "belong in a table [run]"),
        ("score = 'x'", "belong in a table [score]"),
        ("limit = [1, 2]", "'limit' must be a single value"),
        ("[adapter]\nname = 'x'", "'adapter' must be a value or a list of values"),
    ],
)
def test_a_wrong_config_file_is_a_usage_error(shell: Shell, text: str, said: str) -> None:
    (shell.folder / "c.toml").write_text(text)
    _, err = shell("--config", "c.toml", code=2)
    assert said in err


def test_a_broken_question_file_stops_before_any_model_loads(shell: Shell) -> None:
    file = shell.folder / shell.jsonl(20)
    lines = file.read_text().splitlines()
    lines[16] = lines[16][:-3]
    file.write_text("\n".join(lines))
    _, err = shell("-a", "unreachable", "--questions", "set.jsonl", code=1)
    assert "set.jsonl:17" in err
    assert "nowhere/model" not in err


@pytest.mark.slow
def test_ask_prints_the_answer_alone(shell: Shell) -> None:
    shell.jsonl(0)
    out, err = shell("ask", "-a", "instant", "a.png", "Is it red?")
    assert (out, err) == ("yes\n", "")


def test_several_models_need_their_own_model_each(shell: Shell) -> None:
    _, err = shell("-a", "instant", "-a", "slow", "--model", "x/y", code=2)
    assert "NAME@MODEL" in err


@pytest.mark.slow
def test_adapters_lists_broken_and_healthy_alike(shell: Shell, tmp_path: Path) -> None:
    a_distribution(tmp_path / "more", "bad", {"bad": "bad_mod:A"}, modules={"bad_mod": "1 / 0"})
    shell.environment["PYTHONPATH"] += f":{tmp_path / 'more'}"
    out, _ = shell("adapters", "--json")
    states = {plugin["name"]: plugin["state"] for plugin in json.loads(out)}
    assert (states["bad"], states["instant"], states["smolvlm"]) == ("broken", "healthy", "healthy")
    out, _ = shell("adapters")
    assert "ZeroDivisionError" in out


@pytest.mark.slow
def test_export_writes_the_official_result_file(shell: Shell) -> None:
    shell("-a", "raising", "--questions", shell.jsonl(4), "-o", "r", code=3)
    _, err = shell("export", "r", "--format", "vqa-v2", "-o", "results.json")
    assert "2 questions have no answer (left out)" in err
    written = json.loads((shell.folder / "results.json").read_text())
    assert written == [{"question_id": n, "answer": "yes"} for n in (0, 2)]


@pytest.mark.slow
def test_score_of_a_run_equals_the_run_s_own(shell: Shell) -> None:
    out, _ = shell("-a", "raising", "--questions", shell.jsonl(6), "-o", "r", "--json", code=3)
    scored, _ = shell("score", "r", "--json")
    assert json.loads(scored) == json.loads(out)["scores"]


@pytest.mark.slow
def test_a_run_is_scored_again_by_a_metric_that_is_named(shell: Shell) -> None:
    out, _ = shell("-a", "instant", "--questions", shell.jsonl(3), "-o", "r")
    assert "Scored by vqa-v2-normalised: the questions have ten answers each" in out
    again, _ = shell("score", "r", "--metric", "yes-no-words", "--metric", "anls")
    assert "yes-no-words" in again
    assert "F1" in again
    assert "Scored by" not in again


@pytest.mark.slow
def test_compare_says_what_was_fixed_and_what_broke(shell: Shell) -> None:
    questions = shell.jsonl(4)
    shell("-a", "instant", "-a", "raising", "--questions", questions, "-o", "r", code=3)
    out, _ = shell("compare", "r", "-a", "raising", "-a", "instant")
    assert "0 fixed, 0 broken" in out
    assert "2 about 1 image; 2 not in both" in out
    as_json, _ = shell("compare", "r", "-a", "raising", "-a", "instant", "--json")
    assert json.loads(as_json)["unpaired"] == 2


@pytest.mark.slow
def test_runs_over_other_questions_are_not_compared(shell: Shell) -> None:
    for count in (2, 3):
        shell("-a", "instant", "--questions", shell.jsonl(count), "-o", f"r{count}")
    _, err = shell("compare", "r2", "r3", code=1)
    assert "did not ask the same (the questions or the task's card: they differ)" in err
    assert "--anyway" in err
    shell("compare", "r2", "r3", "--anyway")
    _, err = shell("compare", "r2", code=2)
    assert "Give a second run" in err


@pytest.mark.slow
def test_a_repeatable_option_may_be_one_value_in_a_toml_file(shell: Shell) -> None:
    shell.jsonl(2)
    (shell.folder / "c.toml").write_text('questions = "set.jsonl"\nadapter = "instant"\n')
    _, err = shell("--config", "c.toml")
    assert "instant: 2/2" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--questions", "set.jsonl"], "--questions applies to a result file only"),
        (["--limit", "3", "--partial"], "--limit, --partial apply to a result file only"),
    ],
)
def test_score_refuses_options_that_a_run_directory_does_not_need(
    shell: Shell, options: list[str], said: str
) -> None:
    (shell.folder / "r").mkdir()
    _, err = shell("score", "r", *options, code=2)
    assert said in err


@pytest.mark.slow
def test_a_run_without_answers_is_not_called_answered(shell: Shell) -> None:
    command = ("-a", "raising", "--questions", shell.jsonl(4), "-o", "r")
    shell(*command, code=3)
    _, err = shell(*command, code=3)
    assert "continuing after 2 of 4 questions" in err
    assert err.count("raising: question ") == 2
    out, err = shell(*command, "--keep-failed", code=3)
    assert "2 of 4 questions failed before, and --keep-failed leaves them" in err
    assert "run the command without --keep-failed to ask" in out


@pytest.mark.slow
def test_a_run_whose_first_questions_fail_alike_ends_with_that_error(shell: Shell) -> None:
    broken = ("-a", "broken", "--questions", shell.jsonl(9), "-o", "r")
    _, err = shell(*broken, "--same-failures", "3", code=1)
    assert "out of order" in err
    out, _ = shell(*broken, "--same-failures", "0", code=3)
    assert "9 of 9 questions have no answer (python: 9)" in out


@pytest.mark.slow
def test_a_finished_run_can_be_read_where_nothing_can_be_written(shell: Shell) -> None:
    shell("-a", "instant", "--questions", shell.jsonl(3), "-o", "r")
    run = shell.folder / "r"
    before = {path.name: path.stat().st_mtime_ns for path in (run, *run.iterdir())}
    for command in ("score", "export", "memory"):
        shell(command, "r")
    assert {path.name: path.stat().st_mtime_ns for path in (run, *run.iterdir())} == before


@pytest.mark.slow
@pytest.mark.usefixtures("nobody_left")
def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(shell: Shell) -> None:
    command = ("-a", "slow", "--questions", shell.jsonl(60), "-o", "r", "-v")
    process = shell.start(*command)
    assert process.stderr is not None
    assert any("slow: 3:" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues from there" in err
    out, err = shell(*command)
    assert "continuing after" in err
    assert "100.00" in out
    assert err.count("slow: 3:") == 0


def test_ctrl_c_while_it_is_still_importing_shows_no_traceback(shell: Shell) -> None:
    slow = shell.folder / "slow"
    slow.mkdir()
    (slow / "click.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)")
    shell.environment["PYTHONPATH"] = f"{slow}:{shell.environment['PYTHONPATH']}"
    assert shell("--help", code=130) == ("", "")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["ad"], ["adapters"]),
        (["--quest"], ["--questions"]),
        (["--adapter", "smolvlm_"], ["smolvlm_torch"]),
        (["ask", "-a", "llava_m"], ["llava_mlx"]),
    ],
)
def test_the_shell_completes_commands_options_and_adapters(
    shell: Shell, typed: list[str], found: list[str]
) -> None:
    shell.environment |= {
        "_VQA_ENGINE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["vqa-engine", *typed]),
        "COMP_CWORD": str(len(typed)),
    }
    out, _ = shell()
    assert [line.partition(",")[2] for line in out.split()] == found


@pytest.mark.slow
def test_an_adapter_option_can_be_for_one_adapter_only(shell: Shell) -> None:
    adapters = ("-a", "instant", "-a", "raising", "--questions", shell.jsonl(1), "-o", "r")
    options = ("--adapter-option", "instant:base_url=http://x:1", "--adapter-option", "mode=a:b")
    shell(*adapters, *options)
    manifest = json.loads((shell.folder / "r" / "manifest.json").read_text())["adapters"]
    assert manifest["instant"]["options"] == {"base_url": "http://x:1", "mode": "a:b"}
    assert manifest["raising"]["options"] == {"mode": "a:b"}
