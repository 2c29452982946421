"""How long one waits for the command line: `python benchmarks/startup.py [--runs 7]`.

Times `vqa-engine --help`, `vqa-engine adapters`, and the first answer of `vqa-engine ask`
with the embedded model, against `python -m mlx_vlm.generate` on the same checkpoint, picture,
question and number of tokens. The commands take turns, so that a busy moment hits all of
them; one round before the first is not counted. `to the answer` is when it stands on stdout.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attrs import frozen
from PIL import Image

import vqa_engine_adapters.builtin

CHECKPOINT = Path(vqa_engine_adapters.builtin.__file__).parent / "checkpoint"
QUESTION, ANSWER, TOKENS = "What colour is the picture?", b"red", "16"
OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1"}


@frozen
class Command:
    """A command line, and the text that is its answer, empty for one that answers nothing."""

    name: str
    line: tuple[str, ...]
    answer: bytes = b""


@frozen
class Wait:
    """Seconds until the answer is on stdout, and until the command has ended."""

    answer: float
    end: float


def commands(picture: Path) -> list[Command]:
    """What is compared."""
    ours = (str(Path(sys.executable).parent / "vqa-engine"),)
    theirs = (sys.executable, "-m", "mlx_vlm.generate", "--model", str(CHECKPOINT))
    asked = ("--image", str(picture), "--prompt", QUESTION, "--max-tokens", TOKENS)
    ask = ("ask", str(picture), QUESTION, "--max-tokens", TOKENS)
    return [
        Command("vqa-engine --help", (*ours, "--help")),
        Command("vqa-engine adapters", (*ours, "adapters")),
        Command("vqa-engine ask", (*ours, *ask), ANSWER),
        Command("python -m mlx_vlm.generate", (*theirs, *asked), ANSWER),
    ]


def wait(command: Command) -> Wait:
    """Run a command once."""
    said, began = b"", time.perf_counter()
    answered: float | None = None
    with subprocess.Popen(
        command.line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=OFFLINE
    ) as process:
        assert process.stdout is not None
        while some := os.read(process.stdout.fileno(), 1 << 16):
            said += some
            if answered is None and command.answer in said:
                answered = time.perf_counter() - began
    if process.returncode or answered is None:
        raise SystemExit(f"{command.name} ended with {process.returncode}: {said.decode()}")
    return Wait(answered, time.perf_counter() - began)


def show(name: str, waits: list[Wait]) -> None:
    """One line of the table."""
    figures = [[one.answer for one in waits], [one.end for one in waits]]
    told = (f"{min(one):>8.2f}{statistics.median(one):>8.2f}" for one in figures)
    print(f"{name:<30}{''.join(told)}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.new("RGB", (64, 64), "red").save(picture)
        compared = commands(picture)
        rounds = [[wait(command) for command in compared] for _ in range(runs + 1)][1:]
    print(f"{'seconds, best and median':<30}{'to the answer':>16}{'to the end':>16}")
    for command, waits in zip(compared, zip(*rounds, strict=True), strict=True):
        show(command.name, list(waits))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
