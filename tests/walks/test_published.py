"""The commands with published models are run, against a hub that has tiny ones by their names.

The walks run the commands of four pages, and tests of their own those of two more. What is left
is run here as it is shown, but shorter, and with the addresses of this machine. Only what needs
GPUs or Slurm is not run; `NOT_RUN` lists it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.builders import png, questions
from tests.checkpoints import phi3_v
from tests.checkpoints.fake_hub import FakeHub, serving
from tests.environments import ROOT
from tests.questions.tables.builders import packed, parquet_file
from tests.torch import inside
from tests.walks.test_commands import PAGES, commands
from tests.walks.test_walks import PAGES as WALKED
from vqa_engine import AdapterSpec, Engine, Question

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FOLLOWED = {f"{page}.md" for page in (*WALKED, "write-an-adapter", "write-a-task")}
"""Pages whose every block is run: by the walks, the tutorial's test and that of tasks."""

NOT_RUN = {
    # GPUs: `--place cuda:N` is refused where there is no such device.
    "--adapter smolvlm_torch --place cuda:0 --place cuda:1": "two GPUs",
    "--adapter smolvlm_torch --questions vqa.jsonl --place cuda:0 --place cuda:1": "two GPUs",
    "--adapter llava_torch --questions vqa.jsonl --place cuda:0 --place cuda:1": "two GPUs",
    "--adapter llava_torch --adapter smolvlm_torch --parallel --place cuda:0 --place cuda:1": (
        "two GPUs"
    ),
    "--adapter llava_torch --questions vqa.jsonl --workers 2": "the same on two GPUs",
    # Slurm: srun and its variables are there on a cluster only.
    "--adapter llava_torch --questions vqa.jsonl --workers 4": "srun",
    "--adapter llava_torch --questions vqa.jsonl --images /shared/val2014 "
    "--output /shared/runs/val --place ray://$HEAD:6379?gpus=1&count=8": "a Slurm allocation",
    # Other tests run these.
    "--adapter llava_torch --questions vqa.jsonl --images /shared/val2014 "
    "--place ray://auto?gpus=1&count=4": "tests/crew/test_ray.py runs it in its cluster",
    "check my_model": "tests/testing/test_new_adapter.py checks a package that was written",
    "doctor": "tests/doctor",
    "selftest --download": "tests/selftest runs it on the embedded model, a dozen questions",
}

PUBLISHED = {
    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct": "smolvlm",
    "llava-hf/llava-v1.6-mistral-7b-hf": "llava_next",
    "mlx-community/Phi-3.5-vision-instruct-4bit": "phi3_v",
    "mlx-community/Qwen2-VL-2B-Instruct-4bit": "qwen2_vl",
    "mlx-community/SmolVLM2-500M-Video-Instruct-mlx": "smolvlm",
    "mlx-community/llava-v1.6-mistral-7b-4bit": "llava_next",
    "datasets/lmms-lab-encoder/textvqa": "textvqa",
}

BY_TORCH = ("smolvlm", "llava_next", "qwen2_vl")
"""Checkpoints that transformers writes; mlx-vlm reads them as well."""

TEXTVQA = 5_000
"""Its questions: a task with another number of them is refused."""

SITE = """
import importlib.util, sys

class Small:
    "mlx-vlm fixes the size of Phi's tower whatever a checkpoint says: this makes it small."

    NAME = "mlx_vlm.models.phi3_v.vision"

    def find_spec(self, name, path=None, target=None):
        if name != self.NAME:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (load(module), self.shrink(module.VisionModel))
        return spec

    def shrink(self, model):
        tower = model.CLIP_VIT_LARGE_PATCH14_336_CONFIG
        tower.num_hidden_layers, tower.intermediate_size = 1, 64

sys.meta_path.insert(0, Small())
"""
"""What every Python of the commands runs first."""

RUN = ("--limit", "2", "--max-tokens", "4")
SHORTER = {"parity": RUN}
"""Options of runs, and of other commands, that a page lets go on for long."""


class Typist:
    """Somebody at a machine with everything installed, in a folder with pictures and runs."""

    def __init__(self, folder: Path, hub: FakeHub) -> None:
        self.folder, self.address = folder, ""
        self._typed: list[list[str]] = []
        self._environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_CACHE": str(folder / "cache"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": f"{folder / 'site'}:{os.environ.get('PYTHONPATH', '')}",
            "VQA_ENGINE_API_KEY": "a-key",
            "VQA_ENGINE_CACHE": str(folder / "engine-cache"),
        }

    def type(self, words: list[str]) -> None:
        """Run a command to its end, or until it serves."""
        if words[:1] in (["serve"], ["view"]):
            before = self.address
            with self.serving(words):
                self.address = before
            return
        if words not in self._typed:
            self._typed.append(words)
            self.run(self._command(words))

    def run(self, command: list[str]) -> None:
        """Run a program that must succeed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"

    @contextmanager
    def serving(self, words: list[str]) -> Iterator[None]:
        """Run a server meanwhile, at `address`."""
        process = subprocess.Popen(
            self._command([*words, "--port", "0"]),
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        try:
            said = next(line for line in process.stdout if "http://" in line)
            (address,) = re.findall(r"http://\S+", said)
            self.address = address.replace("0.0.0.0", "127.0.0.1")
            yield
        finally:
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
        assert process.returncode in (0, 130), rest

    def _command(self, words: list[str]) -> list[str]:
        more = [*SHORTER.get(words[0], RUN if words[0].startswith("-") else ())]
        more = [] if "--limit" in words else more
        if "openai_server" in words and "base_url=" not in " ".join(words):
            more += ["--adapter-option", f"openai_server:base_url={self.address}"]
        return [sys.executable, "-m", "vqa_engine_cli", *map(self._here, words), *more]

    def _here(self, word: str) -> str:
        """A word of a page, with the addresses and folders of this machine."""
        word = re.sub(r"http://mac:\d+/v1", self.address, word)
        word = re.sub(r"http://gpu:\d+/v1", self.address.replace("127.0.0.1", "localhost"), word)
        return word.replace("FOLDER", str(self.folder.parent / "llava_next"))


@pytest.fixture(scope="module")
def models(torch_process: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what the hub has."""
    folder = tmp_path_factory.mktemp("published")
    for kind in BY_TORCH:
        torch_process.submit(inside.write, folder / kind, kind).result()
    with phi3_v.small_tower(1):
        phi3_v.write(folder / "phi3_v")
    row = {"image_id": "a", "image": packed(0), "question": "What colour?", "answers": ["red"]}
    rows = [{"question_id": number, **row} for number in range(TEXTVQA)]
    parquet_file(folder / "textvqa/data/validation-00000-of-00001.parquet", rows, TEXTVQA)
    return folder


@pytest.fixture(scope="module")
def typist(models: Path) -> Iterator[Typist]:
    """Somebody whose machine has the runs and files that the pages mention."""
    folder = models / "here"
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "sitecustomize.py").write_text(SITE)
    (folder / "kitchen.jpg").write_bytes(png((60, 40)))
    (folder / "val2014").mkdir()
    _write_questions(folder / "vqa.jsonl")
    _write_runs(folder / "runs")
    published = {name: models / folder for name, folder in PUBLISHED.items()}
    with serving(FakeHub(published)) as hub:
        yield Typist(folder, hub)


def _write_questions(file: Path) -> None:
    lines = (
        {
            "question_id": n,
            "image": "kitchen.jpg",
            "question": f"Is it {n}?",
            "answers": ["yes"] * 10,
        }
        for n in range(2)
    )
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def _write_runs(folder: Path) -> None:
    """Runs of an adapter that answers at once, under the labels that the pages name."""
    plain = questions(3, image=png())
    choice = questions(
        3,
        image=png(),
        answers=("A",),
        choices=("yes", "no"),
        right=0,
        labels={"l2_category": "a", "category": "b"},
    )
    for name, labels in {"both": ["smolvlm", "llava_mlx"], "mmstar": ["smolvlm"]}.items():
        _run([choice, plain][name == "both"], folder / name, labels)
    for name in ("kettles", "before", "after", "llava", "smolvlm"):
        _run(plain, folder / name, ["smolvlm"])


def _run(asked: list[Question], folder: Path, labels: list[str]) -> None:
    specs = [AdapterSpec(name=label, target="tests.fakes:Instant") for label in labels]
    with Engine(adapters=specs, isolation="inline") as engine:
        engine.run(asked, folder)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name not in FOLLOWED and list(commands(page))],
    ids=lambda page: page.name,
)
def test_the_commands_of_a_page_run(page: Path, typist: Typist) -> None:
    shown = [words for words in commands(page) if " ".join(words) not in NOT_RUN]
    wants_server = any("openai_server" in words for words in shown)
    with typist.serving(["serve", "--adapter", "smolvlm"]) if wants_server else nullcontext():
        for words in shown:
            typist.type(words)


def test_the_program_of_the_readme_runs(typist: Typist) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    shutil.rmtree(typist.folder / "runs" / "kettles")
    typist.run([sys.executable, "-c", program])
    assert (typist.folder / "kettles.html").exists()


def test_what_is_not_run_is_shown() -> None:
    shown = {" ".join(words) for page in PAGES for words in commands(page)}
    assert NOT_RUN.keys() <= shown
