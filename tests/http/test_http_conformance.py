"""`openai_server` passes the kit, on a server whose answers follow from what it is sent."""

from __future__ import annotations

import base64
import hashlib
import json
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest
from attrs import define

from tests.http.scripted import Reply, Script, serving
from vqa_engine.adapter import ModelRef, Question
from vqa_engine.images import content_hash, open_image
from vqa_engine.testing import AdapterConformance, Capabilities, pictures
from vqa_engine_adapters.http.openai_server import OpenAiServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]  # a loaded machine is slow, and that is no fault


@define
class Looking(Script):
    """Answers with a digest of the picture's pixels and the text, as a model would see them."""

    def next(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        seen = [_seen(part) for one in body["messages"] for part in one["content"]]
        return Reply(content=hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:8])


def _seen(part: Any) -> str:
    if not isinstance(part, dict) or "image_url" not in part:
        return str(part)
    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
    return content_hash(open_image(Question(question_id=0, image=data, text="")))


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
        """Read the leak test's colours: Pillow caches each name, which is not a leak."""
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
