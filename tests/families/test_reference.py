"""Every family on MLX against transformers: the same ids in float32 on the CPU.

Tiny checkpoints of the published layout, 20 pictures of several shapes, five questions about
each, one of the families that have no adapter of their own, and ten pictures for the largest.
Each backend has a process of its own. Phi has no torch side; `tests.mlx.test_crops` compares it
with the published rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from itertools import product
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.torch import checkpoints, inside
from vqa_engine.adapter import GenerationPlan, ModelRef, Question

pytestmark = pytest.mark.slow

PLAN = GenerationPlan(max_tokens=6)
SHAPES = [
    (64, 48), (48, 64), (100, 100), (120, 40), (40, 120), (224, 168), (168, 224), (333, 111),
    (57, 56), (56, 57), (300, 20), (20, 300), (112, 112), (113, 111), (200, 150), (90, 160),
    (16, 16), (7, 9), (500, 375), (171, 256),
]  # fmt: skip
TEXTS = ["What colour?", "How many dogs?", "Is it a cat?", "left or right?", "What is this?"]
ADAPTERS = {
    "idefics3": "smolvlm",
    "idefics3_27": "smolvlm",
    "smolvlm": "smolvlm",
    "llava": "llava",
    "llava_next": "llava",
    "llava_next_vicuna": "llava",
    **dict.fromkeys((*checkpoints.FURTHER, "internvl"), "generic"),
}
ROOM = "vqa_engine_adapters"
PAIRS = {
    "smolvlm": (f"{ROOM}.mlx.smolvlm:SmolVlm", f"{ROOM}.torch.smolvlm:SmolVlmTorch"),
    "llava": (f"{ROOM}.mlx.llava:LlavaMlx", f"{ROOM}.torch.llava:LlavaTorch"),
    "generic": (f"{ROOM}.mlx.generic:MlxVlm", f"{ROOM}.torch.generic:Transformers"),
}
KINDS = tuple(ADAPTERS)
LARGE = ("idefics3_27",)
"""Its tiles have 729 patches; all else is that of `idefics3`."""

FEW = SHAPES[::2]
"""Those that a large model is shown; both grids of tiles, upright and not, are among them."""

ALONE = ("gemma3", "internvl")
"""Asked about one image at a time, as LLaVA is."""


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_transformers(
    torch_process: ProcessPoolExecutor, kind: str, tmp_path: Path
) -> None:
    family = ADAPTERS[kind]
    few = family == "generic" or kind in LARGE
    shapes = FEW if kind in LARGE else SHAPES
    questions = list(_questions(tmp_path, shapes, TEXTS[:1] if few else TEXTS))
    if family != "llava" and kind not in ALONE:
        questions += _about_several(tmp_path)
    on_mlx, on_torch = PAIRS[family]
    folder = torch_process.submit(inside.write, tmp_path / kind, kind).result()
    theirs = torch_process.submit(_ids, on_torch, folder, questions, dtype="float32", device="cpu")
    ours = _ids(on_mlx, folder, questions)
    wanted = theirs.result()
    assert {key for key in ours if ours[key] != wanted[key]} == set()
    assert len({ids for _, ids in ours.values()}) > len(questions) // 5


def _about_several(folder: Path) -> Iterator[Question]:
    """Two and three images of different shapes, named in the text or not."""
    for number, text in enumerate(("Is <image 1> like <image 2>?", "<image 2> <image 1>", "?")):
        for more in (1, 2):
            images = [folder / f"{4 * number + place}.png" for place in range(1 + more)]
            yield Question(
                question_id=f"{text} {more}", image=images[0], images=images[1:], text=text
            )


def _ids(
    target: str, folder: Path, questions: list[Question], **options: str
) -> dict[int | str, tuple[int, tuple[int, ...]]]:
    """Prompt tokens and answered ids by question, each asked by itself."""
    module, _, name = target.partition(":")
    adapter, said = getattr(import_module(module), name)(), {}
    adapter.load(ModelRef(model=str(folder), options=options))
    try:
        for question in questions:
            answer = adapter.answer(question, PLAN)
            said[question.question_id] = answer.tokens.prompt, answer.token_ids
    finally:
        adapter.release()
    return said


def _questions(folder: Path, shapes: list[tuple[int, int]], texts: list[str]) -> Iterator[Question]:
    for number, shape in enumerate(shapes):
        _picture(number, shape).save(folder / f"{number}.png")
    for (number, shape), text in product(enumerate(shapes), texts):
        yield Question(
            question_id=f"{number} {shape} {text}",
            image=folder / f"{number}.png",
            text=text,
        )


def _picture(number: int, shape: tuple[int, int]) -> Image.Image:
    """Another picture for each number, without symmetry."""
    image = Image.linear_gradient("L").rotate(37 * number).resize(shape).convert("RGB")
    draw = ImageDraw.Draw(image)
    width, height = shape
    draw.ellipse((width // 3, height // 4, width * 2 // 3, height // 2), fill=(200, 9 * number, 30))
    draw.rectangle((0, height * 3 // 4, width // 5, height), fill=(10 * number, 60, 190))
    return image
