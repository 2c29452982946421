"""A real server on loopback, asked by a real client."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings

from tests.builders import a_question, png
from tests.serving.adapters import (
    GIB,
    Alone,
    Broken,
    Comparing,
    Cow,
    Echo,
    Grouping,
    Mortal,
    Unreachable,
    Waiting,
)
from tests.serving.running import Client, body, picture, serving, spec
from tests.serving.test_requests import BODIES
from vqa_engine import Engine
from vqa_engine.adapter import ModelRef
from vqa_engine.errors import BackendError, ConfigurationError, RunMismatch
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.runs.directory import open_journal
from vqa_engine.serving import app, model, server
from vqa_engine.serving.server import Settings, serve

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def echo() -> Iterator[Client]:
    """A server that says what it was asked."""
    with serving(spec(Echo)) as client:
        yield client


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


class TestAnswers:
    """What comes back for a request that is in order."""

    def test_completion(self, echo: Client) -> None:
        answer = echo.ask("Is it red?").json()
        [choice] = answer["choices"]
        assert choice["message"] == {
            "role": "assistant",
            "content": "Is it red?|8x6",
            "refusal": None,
        }
        assert (choice["finish_reason"], answer["object"]) == ("stop", "chat.completion")
        assert answer["usage"] == {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 4},
        }
        assert answer["system_fingerprint"].startswith("fp_")
        assert answer["vqa_engine"]["plan"]["max_tokens"] == 8
        assert answer["vqa_engine"]["rung"] == 0

    @pytest.mark.parametrize("usage", [True, False])
    def test_stream(self, echo: Client, usage: bool) -> None:
        options = {"include_usage": usage}
        answered = echo.ask("Is it red?", stream=True, stream_options=options)
        assert answered.headers["content-type"].startswith("text/event-stream")
        *events, end = [line[6:] for line in answered.text.splitlines() if line]
        chunks = [json.loads(event) for event in events]
        deltas = [one["choices"][0]["delta"] for one in chunks if one["choices"]]
        assert "".join(delta.get("content", "") for delta in deltas) == "Is it red?|8x6"
        assert (deltas[0]["role"], end) == ("assistant", "[DONE]")
        assert bool(chunks[-1].get("usage")) == usage

    def test_stop_ends_the_text(self, echo: Client) -> None:
        answer = echo.ask("one two three", stop=["three", " two"]).json()
        assert answer["choices"][0]["message"]["content"] == "one"

    def test_system_text_comes_first(self, echo: Client) -> None:
        messages = [{"role": "system", "content": "Be brief."}, *body("Red?")["messages"]]
        assert echo.said(messages=messages) == "Be brief.\nRed?|8x6"

    def test_models(self, echo: Client) -> None:
        [listed] = echo.http.get("/v1/models").json()["data"]
        assert echo.http.get("/v1/models/echo").json() == listed
        assert (listed["id"], listed["object"]) == ("echo", "model")

    def test_unloaded_model_is_loaded_again(self, echo: Client) -> None:
        echo.said()
        assert echo.http.post("/unload").json() == {"unloaded": ["echo"]}
        assert echo.http.post("/unload", json={"model": "echo"}).json() == {"unloaded": []}
        assert not echo.state()["models"][0]["resident"]
        assert echo.said() == "What is it?|8x6"

    def test_64_in_flight(self, echo: Client) -> None:
        limits = httpx2.Limits(max_connections=64)
        with (
            httpx2.Client(base_url=echo.url, limits=limits, timeout=60, trust_env=False) as http,
            ThreadPoolExecutor(64) as pool,
        ):
            client = Client(http, echo.url)
            asked = [f"question {number}" for number in range(128)]
            assert list(pool.map(client.said, asked)) == [f"{text}|8x6" for text in asked]


class TestRefusals:
    """What cannot be answered says why, and whether trying again may help."""

    @pytest.mark.parametrize(
        ("fields", "status", "param"),
        [
            ({"model": "other"}, 404, "model"),
            ({"n": 2}, 400, "n"),
            ({"logprobs": True}, 400, "logprobs"),
            ({"temperature": "hot"}, 400, "temperature"),
            ({"best_of": 3}, 400, "best_of"),
            ({"messages": []}, 400, "messages"),
        ],
    )
    def test_request_at_fault(
        self, echo: Client, fields: dict[str, Any], status: int, param: str
    ) -> None:
        refused = echo.ask(**fields)
        assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)
        assert refused.headers["x-should-retry"] == "false"

    def test_picture_that_is_none(self, echo: Client) -> None:
        url = {"url": "data:image/png;base64,bm8gcGljdHVyZQ=="}
        content = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": url}]
        refused = echo.ask(messages=[{"role": "user", "content": content}])
        error = refused.json()["error"]
        assert (refused.status_code, error["param"], error["code"]) == (400, "messages", "image")
        assert "not an image in a format" in error["message"]

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("GET", "/v1/chat/completions", 405), ("POST", "/v1/embeddings", 404)],
    )
    def test_path_that_is_none(self, echo: Client, method: str, path: str, status: int) -> None:
        refused = echo.http.request(method, path)
        assert refused.status_code == status
        assert path in refused.json()["error"]["message"]

    @pytest.mark.parametrize("content", [b" " * 2000, [b" " * 1000] * 2])
    def test_body_too_large(
        self, echo: Client, content: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(app, "LARGEST_BODY", 1500)
        refused = echo.http.post("/v1/chat/completions", content=content)
        assert refused.status_code == 413

    def test_adapters_own_failure(self) -> None:
        with serving(spec(Broken)) as client:
            refused = client.ask()
            assert (refused.status_code, refused.json()["error"]["code"]) == (500, "python")
            assert refused.headers["x-should-retry"] == "false"

    def test_model_that_cannot_be_loaded(self) -> None:
        with serving(spec(Unreachable)) as client:
            for _ in range(2):
                refused = client.ask()
                assert refused.status_code == 503
                assert "no network" in refused.json()["error"]["message"]
            assert "no network" in client.state()["models"][0]["last_error"]

    @settings(max_examples=50)
    @given(data=BODIES)
    def test_no_body_is_the_servers_fault(self, echo: Client, data: bytes) -> None:
        answered = echo.http.post("/v1/chat/completions", content=data)
        assert answered.status_code < 500, answered.text
        assert answered.status_code == 200 or answered.json()["error"]["message"]


class TestSafety:
    """Who may ask."""

    @pytest.mark.parametrize(
        "headers",
        [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}],
    )
    def test_pages_of_other_sites_may_not(self, echo: Client, headers: dict[str, str]) -> None:
        refused = echo.ask(headers=headers)
        assert refused.status_code == 403
        assert not any(name.startswith("access-control") for name in refused.headers)

    def test_elsewhere_a_key_is_needed(self) -> None:
        with pytest.raises(ConfigurationError, match="needs a key"):
            serve([spec()], Settings(host="0.0.0.0", port=0))

    def test_key(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        monkeypatch.setenv("THE_KEY", "sk-secret")
        with serving(spec(), key_variable="THE_KEY") as client:
            assert client.http.get("/health").status_code == 200
            for given in ({}, {"authorization": "Bearer sk-wrong"}, {"authorization": "sk-secret"}):
                assert client.ask(headers=given).status_code == 401
            assert client.said(headers={"authorization": "Bearer sk-secret"})
        assert "sk-secret" not in caplog.text

    def test_port_that_is_taken(self, echo: Client) -> None:
        with pytest.raises(ConfigurationError, match="cannot listen"):
            serve([spec()], Settings(port=int(echo.url.rpartition(":")[2])))


class TestLine:
    """Requests that wait."""

    def test_what_waits_goes_together(self) -> None:
        with (
            serving(spec(Grouping, options={"delay": 0.3})) as client,
            ThreadPoolExecutor(9) as pool,
        ):
            client.said()
            first = pool.submit(client.said)
            until(lambda: client.state()["waiting"] == 1)
            assert list(pool.map(client.said, ["?"] * 8)) == ["8"] * 8
            assert first.result() == "1"

    def test_a_full_line_says_when_to_come_back(self, tmp_path: Path) -> None:
        with serving(spec(Waiting), most_waiting=1) as client, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.said, f"wait {tmp_path / 'go'}")
            until((tmp_path / "go.seen").exists)
            refused = client.ask()
            (tmp_path / "go").touch()
            assert waiting.result()
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert "x-should-retry" not in refused.headers
            assert client.said()

    def test_whoever_left_is_not_asked_for(self, tmp_path: Path) -> None:
        journal = tmp_path / "run"
        with serving(spec(Waiting), journal=journal) as client, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.said, f"wait {tmp_path / 'go'}")
            until((tmp_path / "go.seen").exists)
            with pytest.raises(httpx2.ReadTimeout):
                client.http.post("/v1/chat/completions", json=body("left"), timeout=0.3)
            until(lambda: client.state()["waiting"] == 2)
            (tmp_path / "go").touch()
            assert waiting.result()
            assert client.said("after") == "after|8x6"
        asked = [row.question.text for row in open_journal(journal).rows()]
        assert asked[1:] == ["after"]

    def test_the_end_waits_for_the_model_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "GRACE", 1)
        journal = tmp_path / "run"
        with serving(spec(Waiting), journal=journal) as client, ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(client.ask, f"wait {tmp_path / 'go'}")]
            until((tmp_path / "go.seen").exists)
            asked.append(pool.submit(client.ask, "later"))
            until(lambda: client.state()["waiting"] == 2)
            client.stop()
            for one in asked:
                assert isinstance(one.exception(), httpx2.HTTPError) or one.result().is_error
            (tmp_path / "go").touch()
        assert len(list(open_journal(journal).rows())) <= 1


class TestWorkers:
    """The death of a worker is an event of the server's, not the client's."""

    def test_a_question_that_kills_is_asked_again(self, tmp_path: Path) -> None:
        with serving(spec(Mortal)) as client:
            answer = client.ask(f"die {tmp_path / 'died'}").json()
            assert answer["choices"][0]["message"]["content"].endswith("|8x6")
            assert answer["vqa_engine"]["attempts"] == 2

    def test_kill_in_mid_request(self, tmp_path: Path) -> None:
        with serving(spec(Waiting)) as client, ThreadPoolExecutor(4) as pool:
            client.said()
            texts = [f"wait {tmp_path / 'go'}", "one", "two", "three"]
            answers = [pool.submit(client.said, texts[0])]
            until((tmp_path / "go.seen").exists)
            answers += [pool.submit(client.said, text) for text in texts[1:]]
            until(lambda: client.state()["waiting"] == 4)
            [worker] = client.workers()
            worker.kill()
            (tmp_path / "go").touch()
            assert [one.result() for one in answers] == [f"{text}|8x6" for text in texts]

    def test_a_death_costs_the_others_nothing(self, tmp_path: Path) -> None:
        with serving(spec(Mortal)) as client, ThreadPoolExecutor(8) as pool:
            texts = [f"die {tmp_path / 'died'}", *(f"question {n}" for n in range(20))]
            # A question without a file to name is harmless.
            assert list(pool.map(client.said, texts)) == [f"{text}|8x6" for text in texts]

    @pytest.mark.usefixtures("nobody_left")
    def test_none_outlives_its_server(self) -> None:
        with serving(spec()) as client:
            client.said()
            assert len(client.workers()) == 1


class TestSeveralModels:
    """Several models under one budget."""

    def ask_both(self, client: Client, times: int) -> list[str]:
        """Two clients that ask one model each, without a pause."""
        said: list[str] = []

        def ask(label: str) -> None:
            said.extend(client.said(model=label) for _ in range(times))

        clients = [threading.Thread(target=ask, args=(label,)) for label in ("alone", "cow")]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        return said

    def test_what_does_not_fit_takes_turns(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(model, "TURN_SECONDS", 0.2)
        journal, marks = tmp_path / "run", tmp_path / "marks"
        marks.mkdir()
        specs = (
            spec(Alone, "alone", {"folder": str(marks)}),
            spec(Cow, "cow", {"folder": str(marks)}),
        )
        policy = MemoryPolicy(budget=GIB + GIB // 2)
        with serving(*specs, policy=policy, journal=journal) as client:
            assert self.ask_both(client, 60) == ["alone"] * 120
            states = client.state()["models"]
            assert sum(one["resident"] for one in states) == 1
            assert not any(one["last_error"] for one in states)
        loads = len(list(marks.iterdir()))
        assert 2 <= loads <= 2 * 60 // model.TURN_REQUESTS

    def test_what_fits_stays(self, tmp_path: Path) -> None:
        options = {"folder": str(tmp_path)}
        specs = spec(Alone, "alone", options), spec(Cow, "cow", options)
        with serving(*specs, policy=MemoryPolicy(budget=3 * GIB)) as client:
            assert set(self.ask_both(client, 5)) == {"alone", "crowded"}
            states = client.state()["models"]
            assert [one["resident"] for one in states] == [True, True]
            assert len(client.workers()) == 2
        assert len(list(tmp_path.iterdir())) == 2


def test_two_servers_share_one_run() -> None:
    slow = {"delay": 0.05}
    with (
        serving(spec(Grouping, "here", slow)) as one,
        serving(spec(Grouping, "there", slow)) as two,
    ):
        urls = f"{one.url}/v1,{two.url}/v1"
        model = ModelRef(options={"base_url": urls, "instruction": "", "in_flight": 2})
        asked = [a_question(number, image=png()) for number in range(20)]
        with Engine([AdapterSpec(name="openai_server", model=model)]) as engine:
            answers = [row.answer for row in engine.answers(asked)]
        counts = [client.state()["models"][0]["answered"] for client in (one, two)]
    found = Counter(answer.server for answer in answers if answer)
    assert [found[url] for url in urls.split(",")] == counts
    assert min(counts) > 0
    assert sum(counts) == 20


class TestJournal:
    """Every answer is a row."""

    def test_rows_go_on_where_they_stopped(self, tmp_path: Path) -> None:
        for text in ("first", "second"):
            with serving(spec(), journal=tmp_path) as client:
                client.said(text)
                client.ask(messages=[{"role": "user", "content": [picture()]}])
        rows = list(open_journal(tmp_path).rows("echo"))
        assert [row.question.text for row in rows] == ["first", "second"]
        assert all(row.answer and row.question.question_id for row in rows)

    def test_of_another_server_is_refused(self, tmp_path: Path) -> None:
        with serving(spec(), journal=tmp_path) as client:
            assert client.ask().status_code == 200
        with pytest.raises(RunMismatch):
            serve([spec(Grouping)], Settings(port=0, journal=tmp_path))


def test_without_starlette_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(BackendError, match=r"pip install 'vqa-engine\[serve\]'"):
        serve([spec()], Settings(port=0))


def several(count: int) -> list[dict[str, Any]]:
    pictures = [picture(size=(number, 1)) for number in range(1, 1 + count)]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": "?"}]}]


def test_two_pictures_are_one_too_many(echo: Client) -> None:
    refused = echo.ask(messages=several(2))
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "messages")
    assert "may have at most 1 picture, and this one has 2" in error["message"]


def test_several_pictures_where_the_adapter_handles_them() -> None:
    with serving(spec(Comparing)) as client:
        assert client.said(messages=several(2)) == "<image 1>\n<image 2>\n? [(1, 1), (2, 1)]"
        assert client.said() == "What is it? [(8, 6)]"
        assert client.ask(messages=several(3)).status_code == 400
