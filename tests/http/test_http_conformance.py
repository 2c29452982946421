"""`openai_server` passes the kit, on a server whose answers follow from what it is sent."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest
from attrs import define

from tests.http.scripted import Reply, Script, serving
from vqa_engine.adapter import ModelRef
from vqa_engine.testing import AdapterConformance, Capabilities, pictures
from vqa_engine_adapters.http.openai_server import OpenAiServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]  # a loaded machine is slow, and that is no fault


@define
class Looking(Script):
    """Answers with a digest of the image and the text."""

    def next(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        sent = json.dumps(body["messages"]).encode()
        return Reply(content=hashlib.sha256(sent).hexdigest()[:8])


def serve(host: Connection) -> None:
    """Tell the address, and serve until the host hangs up."""
    with serving(Looking()) as url:
        host.send(url)
        host.poll(None)


class TestOpenAiServer(AdapterConformance):
    """Any model behind an OpenAI-compatible endpoint."""

    adapter = OpenAiServer

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def _known_colours() -> None:
        """Pillow keeps each colour's name that it has read: the leak test's are no leak."""
        for hue in range(360):
            pictures.picture(f"hsl({hue}, 80%, 50%)", edge=1)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _server(cls) -> Iterator[None]:
        """In a process of its own: what a server keeps would count as the adapter's leak."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,))
        process.start()
        theirs.close()
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("VQA_ENGINE_API_KEY", raising=False)
            cls.capabilities = Capabilities(model=ModelRef(options={"base_url": ours.recv()}))
            yield
        ours.close()
        process.join()
