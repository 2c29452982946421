"""A server that is away: at the start, for a while, and for good."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import pytest

from tests.http.scripted import Script, serving
from vqa_engine import Engine, Observer, Progress, Row, RunResult, load_questions
from vqa_engine.adapter import GenerationPlan, ModelRef
from vqa_engine.errors import BackendGone
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import MemoryEvent
from vqa_engine_adapters.http.openai_server import OpenAiServer

PLAN = GenerationPlan(max_tokens=5)
TARGET = "vqa_engine_adapters.http.openai_server:OpenAiServer"
QUESTIONS = list(load_questions("shapes:seed=7,count=20"))
BATCH = 8
"""Questions asked together with two requests in flight."""


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].removesuffix("/v1"))


@contextmanager
def back_in(seconds: float, script: Script, port: int) -> Iterator[None]:
    """A server that comes back on its port while the block runs."""
    done = threading.Event()

    def run() -> None:
        done.wait(seconds)
        with serving(script, port):
            done.wait()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_from_the_start_is_said_in_one_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(BackendGone, match=r"did not respond \(no connection .*\)\. Start it"):
        OpenAiServer().load(ModelRef(options={"base_url": url, "patience": 0.1}))


def test_for_a_while_is_waited_out() -> None:
    """The server goes away between two questions and comes back on the same port."""
    script, adapter = Script(), OpenAiServer()
    with serving(script) as url:
        adapter.load(ModelRef(options={"base_url": url, "patience": 20}))
        adapter.answer(QUESTIONS[0], PLAN)
    with back_in(0.3, script, port_of(url)):
        assert adapter.answer(QUESTIONS[1], PLAN).text == "yes"
    adapter.release()


def test_for_good_is_waited_for_once() -> None:
    adapter = OpenAiServer()
    with serving(Script()) as url:
        adapter.load(ModelRef(options={"base_url": url, "patience": 0.2}))
    for _ in range(2):
        with pytest.raises(BackendGone, match="Start it"):
            adapter.answer(QUESTIONS[0], PLAN)
    assert adapter._client is not None
    assert adapter._client._given_up
    adapter.release()


class _Stopper(Observer):
    """Stops the server after the third answer; notes what the engine then does."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self.answers = 0
        self.done: list[str] = []

    def answered(self, row: Row, progress: Progress) -> None:
        self.answers += row.answer is not None
        if progress.done == 3:
            self._stop()

    def memory(self, label: str, event: MemoryEvent) -> None:
        self.done.append(event.call)


@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_for_good_in_mid_run_leaves_the_rest_open(
    tmp_path: Path, isolation: Literal["inline", "process"]
) -> None:
    """One error and no restart; with the server back the same command completes the run."""
    script = Script()
    with ExitStack() as stack:
        url = stack.enter_context(serving(script))
        stopper = _Stopper(stack.close)
        with pytest.raises(BackendGone, match="continues the run"):
            _run(url, isolation, tmp_path, stopper)
    assert stopper.answers == BATCH
    assert not any("restart" in call for call in stopper.done)
    with serving(script, port_of(url)):
        result = _run(url, isolation, tmp_path, Observer())
    assert result.complete
    assert len(script.asked) == len(QUESTIONS)


def _run(
    url: str,
    isolation: Literal["inline", "process"],
    folder: Path,
    observer: Observer,
) -> RunResult:
    model = ModelRef(options={"base_url": url, "patience": 0.2, "in_flight": 2})
    spec = AdapterSpec(name="openai_server", model=model, target=TARGET)
    with Engine([spec], plan=PLAN, isolation=isolation, observer=observer) as engine:
        return engine.run(QUESTIONS, folder / "run")
