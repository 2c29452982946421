"""What a person sees when something is mistyped, stopped, too narrow or broken."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import stat
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.builders import a_distribution, a_question
from tests.cli.test_cli import Shell, shell, site
from vqa_engine import Failure, Progress, Row
from vqa_engine.scoring import Scoreboard, metric
from vqa_engine_cli.excerpt import excerpt
from vqa_engine_cli.live import Line, observer
from vqa_engine_cli.main import cli
from vqa_engine_cli.terminal import VisibleFormatter

__all__ = ["shell", "site"]


def exported(shell: Shell, target: str) -> None:
    shell("-a", "instant", "--questions", shell.jsonl(2), "-o", "r")
    shell("export", "r", "-o", target)


@pytest.mark.slow
def test_an_export_is_written_into_a_pipe_and_leaves_it_there(shell: Shell) -> None:
    pipe = shell.folder / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    exported(shell, "pipe")
    reader.join(30)
    assert len(read[0].splitlines()) == 2
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.slow
def test_an_export_to_a_device_leaves_the_device(shell: Shell) -> None:
    before = Path("/dev/null").stat().st_ino
    exported(shell, "/dev/null")
    assert Path("/dev/null").stat().st_ino == before
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.slow
def test_an_export_through_a_link_replaces_the_file_that_it_names(shell: Shell) -> None:
    (shell.folder / "true.jsonl").write_text("old")
    (shell.folder / "link").symlink_to("true.jsonl")
    exported(shell, "link")
    assert (shell.folder / "link").is_symlink()
    assert len((shell.folder / "true.jsonl").read_text().splitlines()) == 2


def test_a_mistyped_command_is_not_an_argument_of_run(shell: Shell) -> None:
    _, err = shell("adaptors", code=2)
    assert "No such command 'adaptors'. Did you mean 'adapters'?" in err
    assert "extra argument" not in err


@pytest.mark.parametrize(
    ("command", "code", "advice"),
    [
        ("report runs/kettle", 2, "Run 'runs/kettle' does not exist; did you mean 'runs/kettles'?"),
        ("show nothing", 2, "Run 'nothing' does not exist; vqa-engine runs lists all runs."),
        ("--questions vqa.cvs", 1, "There is no question set 'vqa.cvs'; did you mean 'vqa.csv'?"),
        ("--questions runs", 1, "'runs' is a folder: give --ask 'QUESTION'"),
        ("-a mlx-community/model", 1, "adapter in front of it: mlx_vlm@mlx-community/model"),
        ("ask nothing.png What", 2, "File 'nothing.png' does not exist."),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(
    shell: Shell, command: str, code: int, advice: str
) -> None:
    (shell.folder / "runs" / "kettles").mkdir(parents=True)
    (shell.folder / "vqa.csv").touch()
    _, err = shell(*command.split(), code=code)
    assert advice in err


def test_where_nothing_was_run_yet_the_list_of_runs_says_so(shell: Shell) -> None:
    out, _ = shell("runs")
    assert out == "There are no runs here yet; vqa-engine --questions FILE makes one.\n"
    _, err = shell("runs", "elsewhere", code=2)
    assert "There is no folder 'elsewhere'." in err


def test_a_warning_of_ours_is_a_line_without_the_name_of_its_logger() -> None:
    formatter = VisibleFormatter("%(levelname)s %(name)s: %(message)s")

    def line(name: str, level: int) -> str:
        return formatter.format(logging.LogRecord(name, level, "", 0, "%s is odd", ("x",), None))

    assert line("vqa_engine.questions", logging.WARNING) == "Warning: x is odd"
    assert line("vqa_engine.questions", logging.INFO) == "INFO vqa_engine.questions: x is odd"
    assert line("theirs", logging.WARNING) == "WARNING theirs: x is odd"


@pytest.mark.slow
def test_without_ground_truths_it_says_how_to_read_the_answers(shell: Shell) -> None:
    shell.jsonl(1)
    out, _ = shell("-a", "instant", "--questions", ".", "--ask", "What is it?", "-o", "r")
    assert "which has no ground truths: nothing is scored" in out
    assert "The answers: vqa-engine show r, or export --format csv" in out
    assert "Scored by" not in out


def test_choosing_without_choices_is_a_wrong_command(shell: Shell) -> None:
    command = ("-a", "instant", "--questions", shell.jsonl(2), "--choose", "likelihood")
    _, err = shell(*command, code=2)
    assert "set.jsonl has no choices to choose from: name their column with" in err.replace(
        "\n", " "
    )


@pytest.mark.slow
@pytest.mark.usefixtures("nobody_left")
def test_sigterm_says_once_how_to_go_on(shell: Shell) -> None:
    process = shell.start("-a", "slow", "--questions", shell.jsonl(60), "-o", "r", "-v")
    assert process.stderr is not None
    assert any("slow: 3:" in line for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err.count("the same command continues from there") == err.count("Terminated.") == 1


@pytest.mark.slow
def test_log_level_debug_shows_what_is_logged(shell: Shell) -> None:
    questions = shell.jsonl(2)
    _, err = shell("--log-level", "debug", "-a", "noting", "--questions", questions)
    assert err.count("thinking about 1") == 1


@pytest.mark.slow
def test_json_carries_the_cause_of_each_failure(shell: Shell) -> None:
    out, _ = shell("-a", "raising", "--questions", shell.jsonl(4), "--json", code=3)
    (first, _) = json.loads(out)["failures"]
    assert (first["question_id"], first["cause"]) == (1, "python")
    assert "odd questions are beyond me" in first["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["-a", "unreachable", "--questions", "set.jsonl"], 1, "CheckpointError"),
        (["--limit", "none"], 2, "BadParameter"),
    ],
)
def test_an_error_with_json_is_json(
    shell: Shell, arguments: list[str], code: int, kind: str
) -> None:
    shell.jsonl(1)
    out, _ = shell(*arguments, "--json", code=code)
    error = json.loads(out)
    assert (error["event"], error["error"]) == ("error", kind)


@pytest.mark.slow
def test_an_ascii_stdout_ends_in_no_traceback(shell: Shell) -> None:
    shell.environment |= {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    out, err = shell("-a", "instant", "--questions", shell.jsonl(2), "-v")
    assert "Traceback" not in err
    assert "100.00" in out


@pytest.mark.slow
def test_a_crash_shows_the_adapter_s_own_frame(shell: Shell, tmp_path: Path) -> None:
    module = """
        import json
        from tests.fakes import Instant
        class Deep(Instant):
            def answer(self, question, plan):
                return json.loads("{" * 400)
    """
    a_distribution(tmp_path / "d", "deep", {"deep": "deep_mod:Deep"}, modules={"deep_mod": module})
    shell.environment["PYTHONPATH"] += f":{tmp_path / 'd'}"
    _, err = shell("-a", "deep", "--questions", shell.jsonl(1), code=3)
    assert "deep_mod.py" in err
    assert 'json.loads("{" * 400)' in err


def test_a_native_crash_shows_the_fault_and_the_adapter() -> None:
    detail = (
        "Fatal Python error: Segmentation fault\n\n"
        "Thread 0x2 (most recent call first):\n"
        '  File "/home/me/other.py", line 3 in wait\n\n'
        "Current thread 0x1 (most recent call first):\n"
        '  File "/x/lib/python3.11/ctypes/__init__.py", line 519 in string_at\n'
        '  File "/home/me/adapter.py", line 12 in answer\n'
        '  File "<frozen runpy>", line 88 in _run_code\n'
    )
    assert excerpt(detail) == [
        "Fatal Python error: Segmentation fault",
        '  File "/home/me/adapter.py", line 12 in answer',
    ]


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_a_progress_line_keeps_count_rate_and_time(width: int) -> None:
    parts = ["1,234/214,354", "12.5/s", "4 h 44 min left", "accuracy 61.2 %", "memory 12.3 GiB"]
    line = Line.fitted(width, "mlx_vlm@mlx-community/Qwen2.5-VL-7B-Instruct-4bit", parts)
    assert line.facts.startswith("1,234/214,354  12.5/s  4 h 44 min left")
    assert len(line.label) + line.bar + len(line.facts) + 2 <= width
    assert (line.bar == 0) == (width < 80)


def test_help_groups_commands_and_options(shell: Shell) -> None:
    out, _ = shell("help")
    assert "\nLook at a run:\n" in out
    out, _ = shell("help", "run")
    assert "\nGeneration:\n" in out
    assert shell("-V") == shell("--version")


@pytest.mark.slow
def test_quiet_prints_the_scores_alone(shell: Shell) -> None:
    out, err = shell("-q", "-a", "instant", "--questions", shell.jsonl(2))
    assert err == ""
    assert "100.00" in out


@pytest.mark.slow
def test_the_bare_command_says_that_it_is_a_demo_and_what_to_do_next(shell: Shell) -> None:
    out, err = shell("--limit", "5")
    said, *_ = err.splitlines()
    assert "a demo, trained on drawn shapes only" in said
    assert "vqa-engine --adapter smolvlm --questions FILE" in said
    assert "demo" in out
    assert [path.name[10:] for path in (shell.folder / "runs").iterdir()] == ["-demo-shapes"]


@pytest.mark.slow
def test_the_demo_says_so_when_it_is_asked_about_a_picture(shell: Shell) -> None:
    shell.jsonl(1)
    out, err = shell("ask", "a.png", "What colour?")
    assert "for photographs name a model" in err
    assert len(out.splitlines()) == 1


def test_reading_many_earlier_answers_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    seen = observer()
    seen.resuming("a_model", 500)
    seen.resuming("b_model", 107_177)
    assert capsys.readouterr().err == "b_model: reading 107,177 earlier answers\n"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("question 1 (q.csv:2): image a.png: it is empty", "one: question 1 (q.csv:2): image"),
        ("question 1: image a.png: it is empty", "one: question 1: image"),
        ("the program failed", "one: question 1: the program"),
    ],
)
def test_a_failed_question_is_named_once(
    message: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = Failure(cause="image", message=message, attempts=())
    row = Row(adapter="one", question=a_question(1), failure=failure)
    board = Scoreboard(metric("exact"))
    counts = Progress(done=1, total=2, resumed=0, failed=1, degraded=0, board=board)
    observer().answered(row, counts)
    assert capsys.readouterr().err.startswith(said)


def test_help_groups_its_options_and_shows_plain_bounds() -> None:
    shown = CliRunner().invoke(cli, ["run", "--help"]).output
    headings = re.findall(r"^(\w+):$", shown, re.MULTILINE)
    assert headings[-5:] == ["Processes", "Places", "Run", "Scores", "Options"]
    assert "[x>=1]" in shown
    assert "9223372036854775807" not in shown
    assert "Generation:" not in CliRunner().invoke(cli, ["score", "--help"]).output
