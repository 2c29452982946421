"""What the MLX tests ask, and of which adapters."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen
from PIL import Image

from tests.checkpoints import llava, phi3_v, smolvlm
from vqa_engine.adapter import Answer, GenerationPlan, ModelRef, Question
from vqa_engine_adapters.mlx.driver import MlxAdapter
from vqa_engine_adapters.mlx.llava import LlavaMlx
from vqa_engine_adapters.mlx.phi35_vision import Phi35Vision
from vqa_engine_adapters.mlx.smolvlm import SmolVlm

WRITERS: dict[str, Callable[[Path], Path]] = {
    "smolvlm": smolvlm.write,
    "idefics3": lambda folder: smolvlm.write(folder, model_type="idefics3"),
    "llava_next": llava.write,
    "llava": lambda folder: llava.write(folder, model_type="llava"),
    "phi3_v": phi3_v.write,
}

ADAPTERS: dict[str, type[MlxAdapter]] = {
    "smolvlm": SmolVlm,
    "idefics3": SmolVlm,
    "llava_next": LlavaMlx,
    "llava": LlavaMlx,
    "phi3_v": Phi35Vision,
}

FAST = ("smolvlm", "idefics3", "llava", "llava_next")
"""The families whose tiny checkpoint answers in milliseconds: all but Phi."""

Checkpoints = Callable[[str, str], Path]
"""Folder of a tiny checkpoint, by model type and width.

Widths are `float`, `4bit`, and `4bit-half` with float16 scales as on the hub.
"""


@frozen
class Loaded:
    """A loaded adapter that answers one question about each image, and remembers it."""

    adapter: MlxAdapter
    images: Mapping[str, Path]
    answers: dict[str, Answer] = field(factory=dict)

    def answer(self, kind: str, plan: GenerationPlan) -> Answer:
        """The answer about that image; a slow model computes it once."""
        if kind not in self.answers:
            self.answers[kind] = self.adapter.answer(ask(self.images[kind]), plan)
        return self.answers[kind]


@contextmanager
def loaded(folder: Path, adapter: MlxAdapter, **options: Any) -> Iterator[MlxAdapter]:
    """The adapter with `folder` loaded, released at the end."""
    adapter.load(ModelRef(model=str(folder), options=options))
    try:
        yield adapter
    finally:
        adapter.release()


def ask(image: Any, text: str = "What colour is the kettle?", **fields: Any) -> Question:
    """A question about an image."""
    return Question(question_id=1, image=image, text=text, **fields)


def picture(width: int = 90, height: int = 70) -> Image.Image:
    """An RGB picture with structure in both directions."""
    image = Image.linear_gradient("L").resize((width, height))
    sideways = Image.linear_gradient("L").rotate(90).resize((width, height))
    return Image.merge("RGB", (image, sideways, Image.radial_gradient("L").resize(image.size)))


def turned() -> Image.Image:
    """As many tokens as `picture()` takes, and something else to see."""
    return picture().rotate(180)


def encoded(image: Image.Image) -> bytes:
    """The same pixels under no name at all."""
    file = io.BytesIO()
    image.save(file, "BMP")
    return file.getvalue()


def mixed(folder: Path) -> list[Question]:
    """Equal token counts, one picture under three names, in turns, and one of another size."""
    picture().save(folder / "one.png")
    picture().save(folder / "other.bmp")
    images: list[Any] = [
        picture(), turned(), folder / "one.png", picture(70, 120), encoded(turned()),
        folder / "other.bmp", turned(),
    ]  # fmt: skip
    texts = ["What colour?", "How many dogs are there in it?"]
    return [ask(image, texts[n % 2]) for n, image in enumerate(images)]


def asked(adapter: MlxAdapter, questions: list[Question], plan: GenerationPlan) -> list[Answer]:
    """All the answers, in order."""
    return [adapter.answer(question, plan) for question in questions]


def ids(answers: list[Answer]) -> list[tuple[int, ...]]:
    """What was said, token for token."""
    return [answer.token_ids for answer in answers]


def edit(file: Path, **entries: Any) -> None:
    """Give a JSON file's object other entries."""
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
