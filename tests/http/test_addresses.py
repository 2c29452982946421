"""`openai_server` over several addresses that share one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.http.mlx_server import free_port
from tests.http.scripted import Reply, Script, serving
from tests.http.test_openai_server import IMAGE, PLAN, ask
from vqa_engine import Engine
from vqa_engine.adapter import Answer, ModelRef
from vqa_engine.errors import BackendGone
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine_adapters.http import client
from vqa_engine_adapters.http.openai_server import OpenAiServer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses a hundredth as long."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.005)


@contextmanager
def loaded(*urls: str, **options: Any) -> Iterator[OpenAiServer]:
    """The adapter over these addresses."""
    adapter = OpenAiServer()
    adapter.load(ModelRef(options={"base_url": ",".join(urls), **options}))
    try:
        yield adapter
    finally:
        adapter.release()


def answers(adapter: OpenAiServer, count: int) -> list[Answer]:
    """Answers to as many questions, each about a picture of its own."""
    asked = [ask(number, IMAGE.copy()) for number in range(count)]
    outcomes = adapter.answer_batch(asked, PLAN, None)
    assert all(isinstance(one, Answer) for one in outcomes), outcomes
    return [one for one in outcomes if isinstance(one, Answer)]


def test_each_does_its_share_and_is_named_on_its_answers() -> None:
    scripts = [Script((Reply(content=name, delay=0.02),)) for name in ("one", "two")]
    with (
        serving(scripts[0]) as one,
        serving(scripts[1]) as two,
        loaded(one, two, in_flight=2) as adapter,
    ):
        assert adapter.batch_size([ask()] * 99, PLAN) == 16
        found = answers(adapter, 16)
    assert {answer.text: answer.server for answer in found} == {"one": one, "two": two}
    assert [script.most for script in scripts] == [2, 2]


def test_the_quicker_one_does_more() -> None:
    quick, slow = Script(), Script((Reply(delay=0.2),))
    with serving(quick) as one, serving(slow) as two, loaded(one, two, in_flight=1) as adapter:
        answers(adapter, 20)
    assert len(quick.asked) > len(slow.asked) > 0


def test_questions_about_one_picture_stay_together() -> None:
    pictures = [IMAGE.rotate(turn) for turn in range(4)]
    scripts = [Script((Reply(delay=0.02),)) for _ in range(2)]
    asked = [ask(number, pictures[number // 5]) for number in range(20)]
    with serving(scripts[0]) as one, serving(scripts[1]) as two, loaded(one, two) as adapter:
        found = adapter.answer_batch(asked[:10], PLAN, None)
        found = [*found, *adapter.answer_batch(asked[10:], PLAN, None)]
    servers = [answer.server for answer in found if isinstance(answer, Answer)]
    assert [len(set(servers[start : start + 5])) for start in (0, 5, 10, 15)] == [1] * 4
    assert set(servers) == {one, two}


def test_each_has_its_own_name_for_the_model() -> None:
    scripts = [Script(models={"data": [{"id": name}]}) for name in ("a", "b")]
    with serving(scripts[0]) as one, serving(scripts[1]) as two, loaded(one, two) as adapter:
        answers(adapter, 8)
    assert [{body["model"] for body in script.asked} for script in scripts] == [{"a"}, {"b"}]


def test_one_that_goes_away_leaves_its_share_to_the_other() -> None:
    adapter = OpenAiServer()
    with serving(Script()) as one:
        with serving(Script()) as two:
            adapter.load(ModelRef(options={"base_url": f"{one},{two}"}))
            assert {answer.server for answer in answers(adapter, 8)} == {one, two}
        assert {answer.server for answer in answers(adapter, 20)} == {one}
    adapter.release()


def test_one_that_is_busy_is_passed_over() -> None:
    busy, free = Script((Reply(429, headers=(("retry-after", "60"),)),)), Script()
    with serving(busy) as one, serving(free) as two, loaded(one, two, in_flight=1) as adapter:
        assert {answer.server for answer in answers(adapter, 12)} == {two}
        assert len(busy.asked) <= 2


def test_one_that_comes_back_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqa_engine_adapters.http.openai_server.FIRST_PATIENCE", 0.1)
    port = free_port()
    slow = Script((Reply(delay=0.01),))
    with serving(slow) as one, loaded(one, f"http://127.0.0.1:{port}/v1") as adapter:
        assert {answer.server for answer in answers(adapter, 4)} == {one}
        with serving(slow, port) as two:
            batches = (answers(adapter, 16) for _ in range(200))
            assert any(answer.server == two for batch in batches for answer in batch)


def test_all_away_ends_the_run() -> None:
    with serving(Script()) as one, serving(Script()) as two:
        adapter = OpenAiServer()
        adapter.load(ModelRef(options={"base_url": f"{one},{two}", "patience": 0.2}))
    with pytest.raises(BackendGone, match="did not respond"):
        adapter.answer(ask(), PLAN)
    adapter.release()


def test_rows_of_a_run_name_the_address(tmp_path: Path) -> None:
    with serving(Script()) as one, serving(Script()) as two:
        model = ModelRef(options={"base_url": f"{one},{two}"})
        with Engine([AdapterSpec(name="openai_server", model=model)]) as engine:
            result = engine.run([ask(number, IMAGE.copy()) for number in range(8)], tmp_path)
    assert {row.answer and row.answer.server for row in result.rows()} == {one, two}
