"""A real Ray cluster of several nodes on this machine, and what dies in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.builders import a_question, png
from tests.crew.slow import meeting
from tests.environments import ROOT
from tests.walks.test_commands import commands
from vqa_engine import Engine, Observer, Progress, Question, Row, RunResult
from vqa_engine.errors import PlaceLost
from vqa_engine.runs.directory import open_journal

ray = pytest.importorskip("ray")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

COUNT = 90
DOCS = ROOT / "docs"

CHECKS = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
"""Ray sees a dead node after three seconds; by default that takes fifteen."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without seats."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": CHECKS})
    yield made
    made.shutdown()


@pytest.fixture
def nodes(cluster: Any) -> Iterator[list[Any]]:
    """Two nodes with a seat each."""
    added = [cluster.add_node(num_cpus=1, resources={"seat": 1}) for _ in range(2)]
    yield added
    for node in added:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(COUNT // 3):
        (folder / f"{number}.png").write_bytes(png((number + 1, 2)))
    return folder


class At(Observer):
    """Does something once so many rows are there, and keeps what was said."""

    def __init__(self, rows: int, act: Callable[[], object] = lambda: None) -> None:
        self._rows, self._act = rows, act
        self.acted = False
        self.notes: list[str] = []

    def answered(self, row: Row, progress: Progress) -> None:
        if progress.done >= self._rows and not self.acted:
            self.acted = True
            self._act()

    def note(self, label: str, note: Any) -> None:
        self.notes.append(note.text)


def asked(folder: Path) -> list[Question]:
    return [a_question(n, image=folder / f"{n // 3}.png") for n in range(COUNT)]


def address(cluster: Any, count: int = 2, more: str = "") -> str:
    return f"ray://{cluster.address}?seat=1&count={count}{more}"


def expected() -> dict[int | str, str]:
    """What an undisturbed run gives; the adapter has nothing but its question to go by."""
    return {n: f"{n}: {n // 3 + 1}x2" for n in range(COUNT)}


def answers(directory: Path) -> dict[int | str, str]:
    """The text of every row by id; a doubled row would be one too many."""
    journal = open_journal(directory)
    try:
        rows = [(row.question.question_id, str(row.answer)) for row in journal.rows()]
    finally:
        journal.close()
    assert len(rows) == len(dict(rows))
    return dict(rows)


def run(place: str, folder: Path, directory: Path, observer: Observer, met: int = 2) -> RunResult:
    spec = meeting(met, directory.with_name("met"))
    with Engine(adapters=[spec], places=[place], observer=observer) as engine:
        return engine.run(asked(folder), directory)


def kill_an_actor(nodes: list[Any]) -> None:
    """Kill an actor of these nodes: another test's cluster may be on the same machine."""
    raylets = (psutil.Process(node.all_processes["raylet"][0].process.pid) for node in nodes)
    found = (child for raylet in raylets for child in raylet.children(recursive=True))
    next(child for child in found if "".join(child.cmdline()).startswith("ray::Seat")).kill()


def test_two_nodes_give_what_one_worker_gives(
    cluster: Any, nodes: list[Any], pictures: Path, tmp_path: Path
) -> None:
    result = run(address(cluster), pictures, tmp_path / "run", At(0))
    assert answers(tmp_path / "run") == expected()
    assert result.complete
    assert len(result.tallies["slow"].places) == 2


def test_an_actor_that_is_killed_costs_nothing(
    cluster: Any, nodes: list[Any], pictures: Path, tmp_path: Path
) -> None:
    killing = At(20, lambda: kill_an_actor(nodes))
    run(address(cluster), pictures, tmp_path / "run", killing)
    assert killing.acted
    assert any("is lost" in text for text in killing.notes)
    assert answers(tmp_path / "run") == expected()


def test_a_node_that_is_killed_costs_nothing(
    cluster: Any, nodes: list[Any], pictures: Path, tmp_path: Path
) -> None:
    killing = At(20, lambda: cluster.remove_node(nodes[1], allow_graceful=False))
    run(address(cluster), pictures, tmp_path / "run", killing)
    assert killing.acted
    assert any("is lost" in text for text in killing.notes)
    assert answers(tmp_path / "run") == expected()


def test_a_node_that_is_added_is_used(
    cluster: Any, nodes: list[Any], pictures: Path, tmp_path: Path
) -> None:
    cluster.remove_node(nodes[1])

    def add() -> None:
        nodes.append(cluster.add_node(num_cpus=1, resources={"seat": 1}))
        until = time.monotonic() + 120
        while len(list((tmp_path / "met").iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.05)

    result = run(address(cluster), pictures, tmp_path / "run", At(5, add), met=1)
    assert answers(tmp_path / "run") == expected()
    assert len(result.tallies["slow"].places) == 2


def test_a_driver_that_is_killed_is_run_again(
    cluster: Any, nodes: list[Any], pictures: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.crew.test_ray import At, run\n"
        "run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), At(0))\n"
    )
    arguments = [address(cluster), str(pictures), str(tmp_path / "run")]
    driver = subprocess.Popen([sys.executable, "-c", code, *arguments])
    until = time.monotonic() + 120
    while _rows(tmp_path / "run") < 20 and time.monotonic() < until:
        time.sleep(0.1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = _rows(tmp_path / "run")
    assert 20 <= before < COUNT
    counting = At(0)
    run(address(cluster), pictures, tmp_path / "run", counting)
    assert answers(tmp_path / "run") == expected()


def test_the_command_of_the_page_runs(cluster: Any, pictures: Path, tmp_path: Path) -> None:
    (words,) = (words for words in commands(DOCS / "many-places.md") if "ray://auto" in words[-1])
    node = cluster.add_node(num_cpus=1, num_gpus=4)  # Ray believes it
    line = {"image": "0.png", "question": "Is it red?", "answers": ["yes"] * 10}
    (tmp_path / "vqa.jsonl").write_text(f"{json.dumps(line)}\n")
    here = {"llava_torch": "smolvlm@builtin", "/shared/val2014": str(pictures)}
    done = subprocess.run(
        [sys.executable, "-m", "vqa_engine_cli", *(here.get(word, word) for word in words)],
        cwd=tmp_path,
        env={**os.environ, "RAY_ADDRESS": cluster.address},
        capture_output=True,
        text=True,
        check=False,
    )
    cluster.remove_node(node)
    assert done.returncode == 0, done.stderr
    assert "scored answers" in done.stdout


@pytest.mark.timeout(40)  # an actor that was never there has no model to wait for
def test_no_node_is_an_error_and_no_wait_for_ever(
    cluster: Any, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(PlaceLost, match="no node was free"):
        run(f"ray://{cluster.address}?warp=1&count=1&wait=1", pictures, tmp_path / "run", At(0))


def _rows(directory: Path) -> int:
    if not (directory / "journal.sqlite").exists():
        return 0
    journal = open_journal(directory)
    try:
        return sum(1 for _ in journal.rows())
    finally:
        journal.close()
