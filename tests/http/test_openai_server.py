"""`openai_server` against servers that answer by script."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from PIL import Image

from tests.http.scripted import KEY, Reply, Script, serving
from vqa_engine import Engine
from vqa_engine.adapter import Answer, BatchAdapter, GenerationPlan, ModelRef, Question, TokenCounts
from vqa_engine.errors import (
    AnswerError,
    BackendGone,
    CheckpointError,
    ConfigurationError,
    ImageError,
)
from vqa_engine.images import content_hash
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import Timeouts
from vqa_engine_adapters.http import client
from vqa_engine_adapters.http.bounds import CONNECT
from vqa_engine_adapters.http.openai_server import OpenAiServer
from vqa_engine_adapters.http.options import Options

PLAN = GenerationPlan(max_tokens=5)
TARGET = "vqa_engine_adapters.http.openai_server:OpenAiServer"
IMAGE = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
Opened = Callable[..., tuple[OpenAiServer, Script]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses a hundredth as long, and no key from the machine that runs the tests."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.005)
    monkeypatch.delenv("VQA_ENGINE_API_KEY", raising=False)


@pytest.fixture
def opened() -> Iterator[Opened]:
    """An adapter loaded on a server with these replies."""
    with ExitStack() as stack:

        def open_it(*replies: Reply, key: str | None = None, **options: Any) -> Any:
            script = Script(replies or (Reply(),), key=key)
            adapter = OpenAiServer()
            given = {"base_url": stack.enter_context(serving(script)), **options}
            stack.callback(adapter.release)
            adapter.load(ModelRef(options=given))
            return adapter, script

        yield open_it


def ask(number: int = 1, image: Any = IMAGE, text: str = "Is it red?") -> Question:
    return Question(question_id=number, image=image, text=text)


class TestRequest:
    """What goes to the server, and what is made of its reply."""

    def test_carries_image_text_and_plan(self, opened: Opened) -> None:
        adapter, script = opened()
        plan = GenerationPlan(max_tokens=9, temperature=0.5, seed=3)
        answer = adapter.answer(ask(), plan)
        body = script.asked[0]
        image, text = body["messages"][0]["content"]
        sent = image["image_url"]["url"].removeprefix("data:image/png;base64,")
        picture = Image.open(io.BytesIO(base64.b64decode(sent)))
        assert content_hash(picture) == content_hash(IMAGE)
        assert text["text"].startswith("Is it red?\nAnswer the question")
        assert (body["model"], body["max_tokens"]) == ("tiny", 9)
        assert (body["temperature"], body["seed"]) == (0.5, 3)
        assert (answer.text, answer.plan, answer.finish_reason) == ("yes", plan, "stop")
        assert answer.tokens is not None
        assert (answer.tokens.prompt, answer.tokens.completion) == (7, 2)
        assert answer.image_size == IMAGE.size

    @pytest.mark.parametrize(
        ("text", "kinds"),
        [
            ("Compare <image 2> with <image 1>.", ["text", "image_url"] * 2 + ["text"]),
            ("Which is larger?", ["image_url", "image_url", "text"]),
            ("<image 1> alone?", ["image_url", "image_url", "text"]),
        ],
    )
    def test_carries_each_image_where_the_text_says(
        self, opened: Opened, text: str, kinds: list[str]
    ) -> None:
        adapter, script = opened()
        asked = evolve(ask(), text=text, images=(Image.new("RGB", (3, 5)),), worded=True)
        adapter.answer(asked, GenerationPlan())
        content = script.asked[0]["messages"][0]["content"]
        assert [part["type"] for part in content] == kinds
        if "<image 2>" in text:
            data = content[1]["image_url"]["url"].partition(",")[2]
            assert Image.open(io.BytesIO(base64.b64decode(data))).size == (3, 5)

    def test_obeys_what_it_can(self, opened: Opened) -> None:
        adapter, script = opened(extra='{"top_k": 1}', instruction="")
        asked = evolve(PLAN, image_longest_edge=20, kv_bits=8, prefill_step=64, encoder_batch=1)
        answer = adapter.answer(ask(), asked)
        image, text = script.asked[0]["messages"][0]["content"]
        picture = Image.open(io.BytesIO(base64.b64decode(image["image_url"]["url"][22:])))
        assert picture.size == (20, 15)
        assert answer.plan == evolve(PLAN, image_longest_edge=20)
        assert answer.image_size == (20, 15)
        assert (text["text"], script.asked[0]["top_k"]) == ("Is it red?", 1)

    @pytest.mark.parametrize(
        ("reply", "text", "reason"),
        [
            (Reply(content=" Red.\nBecause"), "Red.", "stop"),
            (Reply(content="Red<end_of_utterance>"), "Red", "stop"),
            (Reply(content=""), "", "stop"),
            (
                Reply(text='{"choices":[{"message":{"content":"a"},"finish_reason":"length"}]}'),
                "a",
                "length",
            ),
        ],
    )
    def test_reply_is_cleaned(self, opened: Opened, reply: Reply, text: str, reason: str) -> None:
        answer = opened(reply)[0].answer(ask(), PLAN)
        assert (answer.text, answer.finish_reason) == (text, reason)

    @pytest.mark.parametrize(
        ("details", "image", "reused"),
        [
            (None, None, 0),
            ({"cached_tokens": 5}, None, 5),
            ({"image_tokens": 6, "cached_tokens": None}, 6, 0),
        ],
    )
    def test_tokens_as_far_as_the_server_counts_them(
        self, opened: Opened, details: Any, image: int | None, reused: int
    ) -> None:
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": details}
        choices = [{"message": {"content": "a"}}]
        adapter, _ = opened(Reply(text=json.dumps({"choices": choices, "usage": usage})))
        answer = adapter.answer(ask(), PLAN)
        assert answer.tokens == TokenCounts(prompt=9, completion=1, image=image, reused=reused)
        assert answer.image_size is not None

    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            ({"content": None}, "no text (finish_reason 'length')"),
            ({}, "no text (finish_reason 'length')"),
            ({"content": None, "refusal": "I will not say."}, "no text (I will not say.)"),
            ({"content": [{"type": "text"}]}, "no text"),
            (None, "no message"),
        ],
    )
    def test_a_reply_without_text_is_no_answer(
        self, opened: Opened, message: Any, reason: str
    ) -> None:
        choice = {"message": message, "finish_reason": "length"}
        adapter, _ = opened(Reply(text=json.dumps({"choices": [choice]})))
        with pytest.raises(AnswerError, match=re.escape(reason)):
            adapter.answer(ask(), PLAN)


class TestImages:
    """A file goes as it is wherever that shows the same picture."""

    @staticmethod
    def sent(opened: Opened, image: Any, plan: GenerationPlan = PLAN) -> tuple[str, bytes]:
        adapter, script = opened()
        adapter.answer(ask(image=image), plan)
        url = script.asked[0]["messages"][0]["content"][0]["image_url"]["url"]
        head, _, content = url.partition(";base64,")
        return head.removeprefix("data:"), base64.b64decode(content)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
    def test_are_sent_as_they_are(self, opened: Opened, kind: str) -> None:
        content = encoded(kind)
        assert self.sent(opened, content) == (f"image/{kind.lower()}", content)

    def test_come_from_files(self, opened: Opened, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(encoded("JPEG"))
        assert self.sent(opened, tmp_path / "a.jpg")[1] == encoded("JPEG")

    @pytest.mark.parametrize("case", ["turned", "clear", "bmp", "large"])
    def test_are_drawn_anew_where_a_server_might_see_another(
        self, opened: Opened, case: str
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        content = {
            "turned": encoded("JPEG", exif=exif),
            "clear": encoded("PNG", IMAGE.convert("RGBA")),
            "bmp": encoded("BMP"),
            "large": encoded("JPEG"),
        }[case]
        plan = evolve(PLAN, image_longest_edge=20 if case == "large" else None)
        kind, sent = self.sent(opened, content, plan)
        assert (kind, sent == content) == ("image/png", False)

    def test_that_are_damaged_are_found_here(self, opened: Opened) -> None:
        adapter, script = opened()
        with pytest.raises(ImageError):
            adapter.answer(ask(image=encoded("JPEG")[:-200]), PLAN)
        assert script.asked == []


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """A picture as a file of this format."""
    buffer = io.BytesIO()
    (image or IMAGE).save(buffer, kind, **options)
    return buffer.getvalue()


class TestRetries:
    """What may pass is sent again; what cannot is not."""

    def test_a_server_that_says_so_is_not_asked_again(self, opened: Opened) -> None:
        for_good = Reply(500, text="three workers died", headers=(("x-should-retry", "false"),))
        adapter, script = opened(for_good)
        with pytest.raises(AnswerError, match=r"for good.*three workers died"):
            adapter.answer(ask(), PLAN)
        assert len(script.asked) == 1

    @pytest.mark.parametrize(
        "fault",
        [
            Reply(429, text="slow down"),
            Reply(429, text="slow down", headers=(("retry-after", "0"),)),
            Reply(500, text="oops"),
            Reply(503, text="starting"),
            Reply(text="<html>a proxy's page</html>"),
            Reply(text='{"choices": [{"mess'),
        ],
    )
    def test_pass_over_a_fault(self, opened: Opened, fault: Reply) -> None:
        adapter, script = opened(fault, fault, Reply(content="red"))
        assert adapter.answer(ask(), PLAN).text == "red"
        assert len(script.asked) == 3

    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_do_not_come_sooner_than_the_server_asks(self, opened: Opened, form: str) -> None:
        """Longer than the patience is too long, and then nothing is sent again."""
        then = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
        asked = then if form == "date" else "3600"
        busy = Reply(429, text="slow down", headers=(("retry-after", asked),))
        adapter, script = opened(busy, patience=20)
        with pytest.raises(BackendGone) as caught:
            adapter.answer(ask(), PLAN)
        said = re.search(r"asks to wait (\d+) s", str(caught.value))
        assert said
        assert int(said[1]) == pytest.approx(3600, abs=60)
        assert len(script.asked) == 1

    def test_fit_into_the_life_of_a_worker(self) -> None:
        """The engine gives up a worker whose question takes longer."""
        options, life = Options(), Timeouts().answer
        assert max(options.timeout, options.patience) + CONNECT < life

    def test_end_with_the_patience(self, opened: Opened) -> None:
        """A second try may last as long as there is patience left, not its whole timeout."""
        adapter, script = opened(Reply(500), Reply(delay=5.0), patience=0.5, timeout=4, retries=9)
        with pytest.raises(AnswerError, match=r"failed 2 times: no answer within 0\.[0-5]"):
            adapter.answer(ask(), PLAN)
        assert len(script.asked) == 2

    def test_end(self, opened: Opened) -> None:
        adapter, script = opened(Reply(500, text="oops"), retries=2)
        with pytest.raises(AnswerError, match=r"failed 3 times: HTTP status 500: oops"):
            adapter.answer(ask(), PLAN)
        assert len(script.asked) == 3

    def test_are_not_for_what_is_refused(self, opened: Opened) -> None:
        adapter, script = opened(Reply(400, text="context too long"))
        with pytest.raises(AnswerError, match="context too long"):
            adapter.answer(ask(), PLAN)
        assert len(script.asked) == 1

    def test_follow_a_timeout(self, opened: Opened) -> None:
        adapter, script = opened(Reply(delay=1.0), Reply(content="late"), timeout=0.2)
        assert adapter.answer(ask(), PLAN).text == "late"
        assert len(script.asked) == 2

    def test_do_not_go_on_after_release(self, opened: Opened) -> None:
        adapter, script = opened(Reply(429, headers=(("retry-after", "30"),)))
        assert adapter._client is not None
        threading.Timer(0.2, adapter._client.close).start()
        with pytest.raises(AnswerError, match="released"):
            adapter.answer(ask(), PLAN)
        assert len(script.asked) == 1


class TestBatch:
    """Several requests in flight, one outcome for each question."""

    def test_is_a_capability(self) -> None:
        assert isinstance(OpenAiServer(), BatchAdapter)

    def test_keeps_order_and_numbers_in_flight(self, opened: Opened) -> None:
        replies = [Reply(content=str(n), delay=0.05) for n in range(12)]
        adapter, script = opened(*replies, in_flight=3)
        questions = [ask(n, text=f"Question {n}?") for n in range(12)]
        outcomes = adapter.answer_batch(questions, PLAN, None)
        assert script.most == 3
        asked = [body["messages"][0]["content"][1]["text"].split()[1] for body in script.asked]
        told = {f"{n}?": str(place) for place, n in enumerate(map(_number, asked))}
        assert [getattr(one, "text", one) for one in outcomes] == [told[f"{n}?"] for n in range(12)]

    def test_size_is_bounded(self, opened: Opened) -> None:
        adapter, _ = opened(in_flight=2)
        questions = [ask(n) for n in range(20)]
        assert adapter.batch_size(questions, PLAN) == 8
        assert adapter.batch_size(questions[:3], PLAN) == 3

    def test_more_are_in_flight_while_that_pays(self, opened: Opened) -> None:
        adapter, _ = opened()
        questions = [ask(n) for n in range(99)]
        assert adapter.batch_size(questions, PLAN) == 4 * 8
        adapter.answer_batch(questions[:16], PLAN, None)
        assert adapter.batch_size(questions, PLAN) == 4 * 16

    def test_fewer_are_in_flight_when_the_server_is_too_busy(self, opened: Opened) -> None:
        busy = Reply(status=429, headers=(("Retry-After", "0"),))
        adapter, _ = opened(busy, Reply())
        adapter.answer_batch([ask(n) for n in range(16)], PLAN, None)
        assert adapter.batch_size([ask(n) for n in range(99)], PLAN) == 4 * 4

    def test_one_fault_costs_one_answer(self, opened: Opened, tmp_path: Path) -> None:
        adapter, _ = opened()
        questions = [ask(1), ask(2, image=tmp_path / "none.png"), ask(3)]
        first, second, third = adapter.answer_batch(questions, PLAN, None)
        assert isinstance(second, ImageError)
        assert isinstance(first, Answer)
        assert isinstance(third, Answer)


def _number(text: str) -> str:
    return text.removesuffix("?")


class TestLoad:
    """The server and the model on it are found before the first question."""

    def test_takes_the_only_model(self, opened: Opened) -> None:
        adapter, script = opened()
        adapter.answer(ask(), PLAN)
        assert script.asked[0]["model"] == "tiny"

    def test_wants_a_name_among_several(self) -> None:
        script = Script(models={"data": [{"id": "a"}, {"id": "b"}]})
        with serving(script) as url, pytest.raises(CheckpointError, match=r"offers a, b"):
            OpenAiServer().load(ModelRef(options={"base_url": url}))

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"api_key": KEY}, "api_key"),
            ({"base_url": f"http://me:{KEY}@host/v1"}, "base_url"),
            ({"base_url": f"http://host/v1?key={KEY}"}, "base_url"),
            ({"base_url": "file:///etc"}, "base_url"),
            ({"base_url": "http://one/v1,ftp://two/v1"}, "base_url"),
            ({"base_url": "http://one/v1, http://one/v1/"}, "base_url"),
            ({"in_flight": 0}, "in_flight"),
            ({"timeout": "soon"}, "timeout"),
            ({"extra": "{"}, "extra"),
        ],
    )
    def test_refuses_options_without_showing_them(
        self, options: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=named) as caught:
            OpenAiServer().load(ModelRef(options=options))
        assert KEY not in str(caught.value)

    def test_not_loaded(self) -> None:
        adapter = OpenAiServer()
        adapter.release()
        for call in (
            lambda: adapter.answer(ask(), PLAN),
            lambda: adapter.answer_batch([], PLAN, None),
        ):
            with pytest.raises(AnswerError, match="not loaded"):
                call()


class TestKey:
    """It comes from the environment, goes to the server, and is seen nowhere else."""

    def test_is_sent(self, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_KEY", KEY)
        adapter, script = opened(key=KEY, api_key_env="MY_KEY")
        adapter.answer(ask(), PLAN)
        assert script.headers[0]["authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize(("given", "word"), [(None, "missing"), (KEY, "refused")])
    def test_that_is_wrong_is_said_so(
        self, opened: Opened, monkeypatch: pytest.MonkeyPatch, given: str | None, word: str
    ) -> None:
        if given:
            monkeypatch.setenv("VQA_ENGINE_API_KEY", given)
        with pytest.raises(ConfigurationError, match=word) as caught:
            opened(key="another")
        assert KEY not in str(caught.value)

    def test_that_is_revoked_ends_the_run(self, opened: Opened) -> None:
        """No question is to blame: all stay open, and the same command continues."""
        revoked = Reply(401, text="no such key")
        adapter, _ = opened(Reply(), revoked, api_key_env="MY_KEY", in_flight=1)
        first, second = adapter.answer_batch([ask(1), ask(2)], PLAN, None)
        assert isinstance(first, Answer)
        assert isinstance(second, BackendGone)
        assert "environment variable MY_KEY" in str(second)
        assert "same command" in str(second)

    @pytest.mark.parametrize("isolation", ["inline", "process"])
    def test_is_written_nowhere(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
        isolation: Any,
    ) -> None:
        """Neither in journal, manifest, log nor output, though the server quotes it."""
        monkeypatch.setenv("VQA_ENGINE_API_KEY", KEY)
        caplog.set_level(logging.DEBUG)
        quoting = Reply(400, text=json.dumps({"error": f"bad request with Bearer {KEY}"}))
        script = Script((Reply(), quoting, Reply()), key=KEY)
        with serving(script) as url:
            reference = ModelRef(options={"base_url": url})
            spec = AdapterSpec(name="openai_server", model=reference, target=TARGET)
            with Engine([spec], isolation=isolation) as engine:
                result = engine.run([ask(n) for n in range(3)], tmp_path / "run")
        failures = [row.failure for row in result.rows() if row.failure]
        assert len(failures) == 1
        assert "***" in failures[0].message
        written = [file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()]
        assert len(written) >= 2
        shown = "".join(capfd.readouterr()) + caplog.text
        assert not any(KEY.encode() in content for content in [*written, shown.encode()])
