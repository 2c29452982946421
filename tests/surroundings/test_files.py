"""Files that never end or cannot be read: one sentence, and no waiting."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner

from tests.question_builders import annotation, asked, vqa_pair
from tests.runs.test_hostile import another_user
from vqa_engine.files import replace
from vqa_engine_cli.main import cli

FORMS = ("json", "jsonl", "csv", "tsv", "xlsx", "parquet")
USES = {
    **{form: f"run --questions {{file}}.{form}" for form in FORMS},
    "annotations": "run --questions questions.json --annotations {file}.json",
    "prompt": "run --questions shapes --prompt-file {file}.txt",
    "card": "run --task {file}.toml",
    "options": "run --config {file}.toml",
    "results": "score --questions questions.json --annotations annotations.json {file}.json",
    "run": "score {file}.dir",
}


def a_socket(path: Path) -> None:
    """A socket that nobody listens to."""
    with closing(socket.socket(socket.AF_UNIX)) as one:
        one.bind(path.name)


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "socket": a_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "circle": lambda path: path.symlink_to(path.name),
    "the log of the kernel": lambda path: path.symlink_to("/proc/kmsg"),
    "nothing": lambda _path: None,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", USES)
def test_what_is_no_regular_file_is_refused_at_once(
    use: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vqa_pair(tmp_path, [asked(1)], [annotation(1)])
    words = USES[use].format(file="given").split()
    (name,) = (word for word in words if word.startswith("given."))
    KINDS[kind](Path(name))
    said = CliRunner().invoke(cli, words)
    assert said.exit_code in {1, 2}, said.output
    assert "which is a bug" not in said.stderr
    (sentence,) = (line for line in said.stderr.splitlines() if line.startswith("Error: "))
    assert name in sentence or kind == "folder"


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no /dev/fd here")
def test_a_pipe_without_a_path_is_written_into() -> None:
    read, write = os.pipe()
    try:
        replace(Path(f"/dev/fd/{write}"), [b"an", b"swer"])  # as /dev/stdout is one
        assert os.read(read, 10) == b"answer"
    finally:
        os.close(read)
        os.close(write)


WRITES = (
    *("export {run} -o given", "export {run} --format csv -o given", "report {run} -o given"),
    *("new-adapter hue -o given", "run --limit 1 -o given"),
)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["socket", "circle", "folder of a file"])
@pytest.mark.parametrize("use", WRITES)
def test_what_cannot_be_written_to_is_one_sentence(
    use: str, kind: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = use.format(run=finished).split()
    if kind == "folder of a file":
        Path("given").touch()
        words[-1] = "given/deeper"
    else:
        KINDS[kind](Path("given"))
    said = CliRunner().invoke(cli, words)
    assert said.exit_code in {1, 2}, said.output
    assert "which is a bug" not in said.stderr
    (sentence,) = (line for line in said.stderr.splitlines() if line.startswith("Error: "))
    assert "given" in sentence


@pytest.mark.timeout(20)
@pytest.mark.parametrize("use", USES)
def test_a_file_without_permission_is_one_sentence(
    use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory() as place:
        folder = Path(place)
        monkeypatch.chdir(folder)
        vqa_pair(folder, [asked(1)], [annotation(1)])
        words = USES[use].format(file="given").split()
        (name,) = (word for word in words if word.startswith("given."))
        (folder / name).mkdir() if name.endswith(".dir") else (folder / name).write_text("=")
        if use != "prompt":  # which would begin to ask
            CliRunner().invoke(cli, words)  # imports what it needs, while that can be read
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755)
        (folder / name).chmod(0)
        with another_user() if os.geteuid() == 0 else nullcontext():
            said = CliRunner().invoke(cli, words)
        (folder / name).chmod(0o755)
    assert said.exit_code in {1, 2}, said.output
    (sentence,) = (line for line in said.stderr.splitlines() if line.startswith("Error: "))
    assert name in sentence
    assert "ermission denied" in sentence or "not readable" in sentence, sentence
