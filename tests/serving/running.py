"""Servers to ask: a real one, on loopback, in a thread of its own."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import httpx2
import psutil
from attrs import frozen

from tests.builders import png
from tests.serving.adapters import Echo, target
from vqa_engine.adapter import ModelRef
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.serving.server import Running, Settings, serve

PATIENCE = 240
"""Seconds that a client waits: on a busy machine the embedded model takes half a minute to load."""


@frozen
class Client:
    """Speaks to one server."""

    http: httpx2.Client
    url: str
    others: frozenset[psutil.Process] = frozenset()
    stop: Callable[[], None] = lambda: None

    def ask(self, text: str = "What is it?", **fields: Any) -> httpx2.Response:
        """One request; `headers` go with it, all other fields into its body."""
        headers = fields.pop("headers", {})
        return self.http.post("/v1/chat/completions", json=body(text, **fields), headers=headers)

    def said(self, text: str = "What is it?", **fields: Any) -> str:
        """The text of the answer."""
        answered = self.ask(text, **fields)
        assert answered.status_code == 200, answered.text
        return str(answered.json()["choices"][0]["message"]["content"])

    def workers(self) -> list[psutil.Process]:
        """The processes of this server's models."""
        return sorted(_children() - self.others, key=lambda one: one.pid)

    def state(self) -> dict[str, Any]:
        """What /running says."""
        return dict(self.http.get("/running").json())


def picture(colour: str = "red", size: tuple[int, int] = (8, 6)) -> dict[str, Any]:
    """A picture as part of a message."""
    data = base64.b64encode(png(size, colour)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def body(text: str = "What is it?", colour: str = "red", **fields: Any) -> dict[str, Any]:
    """A request's body: one question about one picture."""
    content = [{"type": "text", "text": text}, picture(colour)]
    messages = [{"role": "user", "content": content}]
    return {"model": "echo", "messages": messages, "max_tokens": 8, **fields}


def spec(
    adapter: type[Any] = Echo, label: str = "echo", options: Mapping[str, Any] | None = None
) -> AdapterSpec:
    """An adapter of the tests."""
    model = ModelRef(options=dict(options or {}))
    return AdapterSpec(name=label, label=label, target=target(adapter), model=model)


@contextmanager
def serving(*specs: AdapterSpec, **settings: Any) -> Iterator[Client]:
    """A server of these adapters, which has ended afterwards."""
    told: Future[Running] = Future()
    chosen = Settings(**{"port": 0, **settings})
    before = _children()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(serve, specs or (spec(),), chosen, told.set_result)
        either: tuple[Future[Any], Future[Any]] = told, ended
        wait(either, return_when=FIRST_COMPLETED)
        if ended.done():
            ended.result()
        running = told.result()
        address = running.url.removesuffix("/v1")
        try:
            with httpx2.Client(base_url=address, timeout=PATIENCE, trust_env=False) as http:
                yield Client(http, address, before, running.stop)
        finally:
            running.stop()
            ended.result()


def _children() -> frozenset[psutil.Process]:
    return frozenset(psutil.Process().children())
