"""`openai_server` against a real mlx-vlm server with the embedded checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asking import reply_to
from tests.http.mlx_server import Server, running
from vqa_engine import Engine, Observer, Progress, Row, load_questions
from vqa_engine.adapter import BUILTIN, Answer, GenerationPlan, ModelRef
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import WorkerSession
from vqa_engine_adapters.http import openai_server
from vqa_engine_adapters.http.openai_server import OpenAiServer

pytestmark = pytest.mark.slow

PLAN = GenerationPlan(max_tokens=8)
QUESTIONS = list(load_questions("shapes:seed=13,count=20"))
TARGET = "vqa_engine_adapters.http.openai_server:OpenAiServer"
INSTRUCTION = "\nGive a very brief answer."
"""The one that `smolvlm` gives this model."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The server, starting up."""
    with running() as server:
        yield server


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server takes a while to start on a busy machine."""
    monkeypatch.setattr(openai_server, "FIRST_PATIENCE", 300.0)


def options(server: Server) -> dict[str, object]:
    return {"base_url": server.url, "instruction": INSTRUCTION, "in_flight": 4, "patience": 300}


@pytest.mark.timeout(400)
def test_answers_are_those_of_the_adapter_in_process(server: Server) -> None:
    session = WorkerSession(AdapterSpec(name="smolvlm", model=ModelRef(model=BUILTIN)))
    session.load()
    replies = [reply_to(session, question, PLAN) for question in QUESTIONS]
    session.release()
    expected = [reply.answer.text if reply.answer else reply.failure for reply in replies]
    adapter = OpenAiServer()
    adapter.load(ModelRef(options=options(server)))
    outcomes = adapter.answer_batch(QUESTIONS, PLAN, None)
    adapter.release()
    assert [one.text if isinstance(one, Answer) else one for one in outcomes] == expected


class _Killer(Observer):
    """Kills the server after the third answer, and starts it again on the same port."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.killed: list[int | None] = []

    def answered(self, row: Row, progress: Progress) -> None:
        if progress.done == 3:
            self.killed.append(self._server.pid)
            self._server.kill()
            self._server.start()


@pytest.mark.timeout(400)
def test_a_run_outlives_its_server(server: Server, tmp_path: Path) -> None:
    """Killed in mid-run and started again, as by a supervisor: the run completes.

    With one request in flight the engine asks in batches of four, so half are still to come.
    """
    reference = ModelRef(options={**options(server), "in_flight": 1})
    spec = AdapterSpec(name="openai_server", model=reference, target=TARGET)
    killer = _Killer(server)
    with Engine([spec], plan=PLAN, isolation="inline", observer=killer) as engine:
        result = engine.run(QUESTIONS[:8], tmp_path / "run")
    assert killer.killed != [server.pid]
    assert len(killer.killed) == 1
    assert result.complete
    assert [row.question.question_id for row in result.rows()] == list(range(8))
